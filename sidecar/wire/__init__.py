"""What preload and sidecar say to each other: NDJSON over a Unix socket (docs/wire.md)."""
