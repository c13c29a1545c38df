"""The version of the program. The wheel, /healthz and the user agent read it here. Pure."""

__version__ = "0.1.0"
