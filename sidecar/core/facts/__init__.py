"""Values that all rooms use: fingerprint, change, writer, process, gateway, loss, reason."""
