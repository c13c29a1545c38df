"""The endpoints of the API, one file for each resource, with the types of their queries, bodies and answers."""
