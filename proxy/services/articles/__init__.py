"""Articles: rewriting them in one process or many, and remembering which article uses which source."""
