"""Values that everything else speaks of: who, what, when, and why."""
