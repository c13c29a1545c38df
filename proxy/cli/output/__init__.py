"""The output of commands: tables, progress bars, reports."""
