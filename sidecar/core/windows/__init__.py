"""The open windows: their life, the questions asked in them, and what came of each."""
