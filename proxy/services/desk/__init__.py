"""The data and the lists of the owner's desk: sessions, failed sign-ins, its history of figures, and searches."""
