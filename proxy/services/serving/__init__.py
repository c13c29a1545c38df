"""The way of one request for a picture. `way.py` tells it from top to bottom; the other modules are its steps."""
