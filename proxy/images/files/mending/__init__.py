"""Files that a browser shows and a library refuses, made acceptable to the library. Pure; runs in render processes.

Damage outside of the pixels must not cost the picture: metadata with a wrong checksum, a missing end mark, an
animation without its last frames. Each room rewrites one format. It drops blocks that do not concern the pixels,
writes lengths that agree with the file, and puts the end mark back. Pixels are never invented: whether every area has
data is for the decoder to find out. A file that needs none of this is not copied.
"""
