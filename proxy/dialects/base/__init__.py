"""The parts that grammars share: addresses, escapes, the vocabulary of our own options."""
