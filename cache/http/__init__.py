"""RFC 9110 and RFC 9111 as pure functions: freshness, kept fields, validators, dates."""
