"""Exporting a built site with its pictures into a copy that needs no service.

walk       lists the files of a site; follows links only inside it
state      records in the copy what earlier runs wrote
output     writes and removes our own files in the copy
svg        decides whether an SVG may be published unchanged
offers     turns rendered variants into the files that pages name
pictures   makes one picture: keeps or fetches the original, writes its files
export     runs the steps: read, fetch and render, write, tidy
"""
