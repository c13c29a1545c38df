"""Politeness to each origin: circuit breaker, pace, slots, robots.txt."""
