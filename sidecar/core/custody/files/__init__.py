"""Custody of a transcript that is a file: bytes, fingerprints, digests."""
