"""TLS with origins: accepted versions and suites, and incomplete certificate chains."""
