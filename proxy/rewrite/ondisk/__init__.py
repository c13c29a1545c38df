"""Articles on disk: finding, writing and undoing."""
