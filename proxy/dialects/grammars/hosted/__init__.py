"""Grammars of public services, which are recognised by their hosts."""
