"""Files as bytes: their structure, metadata and damage, never pixels. Pure but for `probe`, which reads files."""
