"""A real gateway on this machine, and everything around it: what the demo and the end-to-end tests drive.

`packages` fetches a published OpenClaw release, `model` is the model that it talks to and `window` holds a model call
open for as long as a test needs. `rpc` and `foreign` are the two kinds of writers that then touch the session file,
`history` says what became of its records, and `pager` receives the pages. Nothing here is imported by the sidecar.
"""
