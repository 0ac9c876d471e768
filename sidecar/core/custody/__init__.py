"""Who wrote which part of a transcript: what is known, and how it is known."""
