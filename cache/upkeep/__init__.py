"""Looking after what is kept: counting, verifying, scrubbing, sweeping, copying."""
