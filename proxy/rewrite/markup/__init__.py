"""Finds the places of addresses in HTML, XML and style sheets."""
