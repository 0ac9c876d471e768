"""The SDK set up as the environment says, and what came of its exports."""
