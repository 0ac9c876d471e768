"""From what a sensor saw to an event of the core: one module for each sensor."""
