"""Metrics, a family in each module: name, kind, unit, help, labels and the counting of each stand together."""
