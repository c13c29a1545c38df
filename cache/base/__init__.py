"""The foundations of the store: errors, keys, entries, the layout of the folder, durable writes."""
