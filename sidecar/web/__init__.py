"""The API: what the sidecar knows, for scripts, probes, scrapers and the console. It only reads."""
