"""Articles on disk: which files they are, how they are written, and the way back."""
