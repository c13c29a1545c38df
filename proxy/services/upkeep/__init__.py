"""Maintenance of a store: purging, repairing, and counting by origin and article."""
