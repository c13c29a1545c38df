"""TLS of origins: what is accepted, and chains that lack a certificate."""
