"""Articles: rewritten by one process or many, and who uses which source."""
