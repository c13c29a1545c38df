"""What an owner asks of a store: purge, repair, count by origin and article."""
