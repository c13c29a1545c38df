"""Transforms: the changes that an address asks for, as text and as values. Pure; runs anywhere.

`output` defines the options of the answer, `resolved` adds texts to the values of all options, and `transform` parses
the options of an address.
"""
