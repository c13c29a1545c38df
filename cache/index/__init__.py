"""A derived index of pictures, failures and articles in SQLite. It may be deleted at any time."""
