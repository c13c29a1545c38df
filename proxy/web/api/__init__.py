"""The JSON API at `/api/v1/`: one table of endpoints that routes, validates and documents them."""
