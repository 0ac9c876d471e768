"""What the operator asked for: flags, environment, file and defaults made into one value."""
