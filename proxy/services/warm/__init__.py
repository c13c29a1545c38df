"""Warming: fetching and rendering every picture of a set of articles before the first visitor comes."""
