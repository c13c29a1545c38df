"""Request targets: reading them once, admission, negotiation."""
