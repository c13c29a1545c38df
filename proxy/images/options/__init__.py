"""Defines options, and holds the values of all options. Pure; runs anywhere.

`readers` defines a single option, and `wanted` holds one value for each. Operations and encoders know only this room;
`proxy.images.transforms` knows which options there are.
"""
