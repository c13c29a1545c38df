"""What every grammar is made of: addresses, escapes, the words of our own options."""
