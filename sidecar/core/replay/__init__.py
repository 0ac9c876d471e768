"""Recordings of windows, and judging them again."""
