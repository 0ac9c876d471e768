"""What a change is, why, and the incident that keeps it on record."""
