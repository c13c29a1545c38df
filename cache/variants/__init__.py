"""The bounded tier: variants on diskcache and in memory. It may be deleted at any time."""
