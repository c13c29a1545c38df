"""What the owner's desk keeps for itself: sessions, failed sign-ins, and its history of figures."""
