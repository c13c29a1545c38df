"""Connections: the server below the handlers, the clients, and how workers share connections."""
