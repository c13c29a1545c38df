"""Archives: what is kept, as files that others can read, and what others kept, brought in. Synchronous; in threads."""
