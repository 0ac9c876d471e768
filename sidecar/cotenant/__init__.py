"""Programs outside of OpenClaw that write to a session: under its lock, in whole records, announced."""
