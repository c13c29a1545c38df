"""Failures of sources and pictures: remembering them, judging them, recovering from them."""
