"""Telling a person: one notification for each incident that needs one, until it is delivered or given up."""
