"""Rewriting articles: find addresses of pictures, replace them, and put them back. No network, no event loop.

rewriter     the use: bytes of an article in, bytes and a list of replacements out
frontmatter, markdown, inline, html, css, srcset    where addresses stand (spots)
layers       how a place spells an address (entities, quotes, backslashes)
journal, files, apply, diff    the way back, files on disk, and changes as patches
"""
