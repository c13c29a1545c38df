"""Turns pages of a built site into self-contained ones: local pictures, and links that work from a folder.

tree        resolves the site's own addresses to files, and writes them relative to another file
pictures    the picture that a place shows (`Want`) and its files (`ExportedFiles`)
taking      decides which addresses of a document are pictures to export
page        rewrites HTML: `<picture>` with every format and width, and all other addresses
texts       rewrites style sheets, feeds, data
exporter    the entry point: takes and returns the bytes of a file, with its wants and what is left
"""
