"""Long pieces of work that a service runs on request, and that show their progress to everybody."""
