"""What every part of the store is made of: errors, keys, entries, the layout of the folder, durable writes."""
