"""The catalogue: a derived index of pictures, articles and failures in SQLite."""
