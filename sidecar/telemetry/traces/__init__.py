"""Spans, built from facts after they happened, in the gateway's own trace."""
