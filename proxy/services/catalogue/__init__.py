"""The catalogue: what is kept, what is missing and where it is shown, for the web and the commands."""
