"""Maintenance of kept originals: counting, verifying, scrubbing, sweeping, copying."""
