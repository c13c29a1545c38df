"""Exchange: one fetch, the requests that it sends, and the meaning of its failures."""
