"""Answers: pictures with their headers and ranges, and files handed over to a web server in front."""
