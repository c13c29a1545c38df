"""The answers of origins: tidies heads and chunks for a strict parser, and removes content codings."""
