"""Pixels in memory: resampling, PNG writing and zero-copy pictures, with libvips where it is faster. Runs in render
processes."""
