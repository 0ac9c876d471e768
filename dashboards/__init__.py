"""Grafana dashboards, as Python that writes the JSON beside it: ``python -m dashboards``."""
