"""The bounded tier: variants on diskcache, and in memory. It may be wiped at any time."""
