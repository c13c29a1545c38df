"""The endpoints of the API, one file for each resource: what is asked, what is answered, and how."""
