"""Exporting a built site: its files, the pictures in them, and a copy that needs nobody.

walk       what a site holds: regular files by their paths, links followed inside it only
state      what an earlier run wrote, kept in the copy itself
output     writing into the copy, and removing from it, nothing but our own
svg        whether a drawing may lie beside pages
offers     from rendered variants to the files that pages name
pictures   one picture: its original kept or fetched, its files written
export     the use: read, fetch and render, write, tidy
"""
