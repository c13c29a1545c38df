"""Pages of a built site turned into pages that need nobody: pictures beside them, links that work from a folder.

tree        the site's own addresses: which file they lead to, and how they are written from another file
pictures    what a place shows (`Want`) and the files that stand for it (`Shown`)
taking      which addresses of a document are pictures that are taken along
page        HTML: `<picture>` with every format and width, and everything else that holds an address
texts       style sheets, feeds, data
exporter    the use: bytes of a file in, bytes out; what it shows and what is left
"""
