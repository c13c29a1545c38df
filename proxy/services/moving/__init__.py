"""Stores moved: packed into archives, and unpacked from them."""
