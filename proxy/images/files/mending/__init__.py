"""Repairs files that browsers show and libraries refuse. Pure; runs in render processes.

Damage outside the pixels must not cost the picture: metadata with a wrong checksum, a missing end mark, an animation
without its last frames. Each module rewrites one format. It drops blocks that do not concern the pixels, corrects
lengths, and adds the end mark. It never invents pixels: the decoder finds out whether every area has data. A file that
needs no repair is not copied.
"""
