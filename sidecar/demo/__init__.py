"""A real gateway on this machine, and everything around it: what the demo and the end-to-end tests drive.

`packages` fetches a published OpenClaw release, `model` is the model that it talks to and `window` holds a model call
open for as long as a test needs. `rpc` is how a co-tenant writes then, `sessionfile` has a stranger write and says what
became of the records, and `pager` receives the pages. Nothing here is imported by the sidecar.
"""
