"""Rewriting articles: finding addresses of pictures, replacing them, and undoing that. No network, no event loop.

rewriter     the entry point: takes the bytes of an article, returns bytes and a list of replacements
frontmatter, markdown, inline, html, css, srcset    find the places of addresses (spots)
layers       decodes and encodes the spelling at a place (entities, quotes, backslashes)
journal, files, apply, diff    the undo journal, files on disk, and changes as patches
"""
