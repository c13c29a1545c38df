"""The durable tier: originals as plain files. It never evicts."""
