"""The pages of the desk, one file for each part of the navigation."""
