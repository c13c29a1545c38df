"""Transforms: the changes that an address asks for, as text and as values. Pure; runs anywhere.

`options` defines a single option, `wanted` holds the values, `resolved` adds their texts, and `transform` parses the
options of an address.
"""
