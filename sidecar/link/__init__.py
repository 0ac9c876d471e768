"""The sidecar's end of the links: a Unix socket on which gateways report and ask."""
