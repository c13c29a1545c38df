"""How commands speak: tables, progress bars, reports."""
