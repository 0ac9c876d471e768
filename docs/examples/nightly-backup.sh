#!/bin/sh
# nightly-backup SESSION [OPTIONS]: make a backup, and tell the session of it.
set -eu
session=${1:?usage: nightly-backup SESSION [OPTIONS]}
shift

# ... here the backup is made; the session is not locked meanwhile ...
note="The nightly backup has run."

openclaw-sidecar write "$session" --name nightly-backup --json "$@" -- printf \
	'{"type":"message","message":{"role":"user","content":[{"type":"text","text":"%s"}]}}\n' "$note"
