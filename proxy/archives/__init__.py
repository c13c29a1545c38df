"""Archives: reading and writing originals as WARC files or plain folders. Synchronous; runs in threads."""
