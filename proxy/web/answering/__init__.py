"""Answers: pictures with their headers, ranges and files for a web server in front."""
