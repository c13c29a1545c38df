"""Connections: the server below the handlers, who asks, and how connections are shared out."""
