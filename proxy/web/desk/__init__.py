"""The owner's desk at `/desk`: pages for the person who runs the service."""
