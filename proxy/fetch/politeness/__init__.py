"""What belongs to one origin: its circuit breaker, its pace, its slots, its robots.txt."""
