"""Exchange: one fetch, what it sends, and what its failures mean."""
