"""Classifying addresses, and deciding whether and how they are replaced."""
