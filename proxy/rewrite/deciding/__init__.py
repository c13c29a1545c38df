"""What an address is, and whether and how it is replaced."""
