"""Log lines, and incidents as log records."""
