"""The words of telemetry: names, closed sets of labels, attributes of the core's values, places in traces."""
