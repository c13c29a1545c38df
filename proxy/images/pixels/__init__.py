"""Pixels in memory, and libvips where it handles them better than Pillow. Runs in render processes."""
