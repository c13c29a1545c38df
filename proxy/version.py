"""The version of the program, written once: the wheel, /healthz and the user agent read it here."""

__version__ = "0.1.0"
