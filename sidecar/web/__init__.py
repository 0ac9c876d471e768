"""What the sidecar knows, over HTTP: the API for scripts and the console, and a listener for scrapers and probes."""
