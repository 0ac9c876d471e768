"""Custody of transcripts that are rows of a database: which rows there were, who wrote them, what is unexplained."""
