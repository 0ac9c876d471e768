#!/bin/sh
# sync-tool SESSION_FILE RECORD: append a record with a tool that writes by itself, announced over HTTP.
# SIDECAR is the address of the sidecar's API, TOKEN what `openclaw-sidecar hooks token` printed.
set -eu
file=${1:?usage: sync-tool SESSION_FILE RECORD}
record=${2:?usage: sync-tool SESSION_FILE RECORD}

say() {
	curl --silent --show-error --fail-with-body --max-time 5 "$SIDECAR/v1/hooks" \
		--header "Authorization: Bearer $TOKEN" --header 'Content-Type: application/json' --data "$1"
}

hook=$(say '{"phase":"begin","session":"'"$file"'","name":"sync-tool","pid":'$$'}' |
	sed 's/.*"hook":"\([0-9a-f]*\)".*/\1/')

offset=$(($(wc -c <"$file")))
printf '%s\n' "$record" >>"$file" # this is what the tool does
length=$(($(printf '%s\n' "$record" | wc -c)))
digest=$(printf '%s\n' "$record" | sha256sum | cut -d ' ' -f 1)

say '{"phase":"end","hook":"'"$hook"'","ranges":[{"offset":'$offset',"length":'$length',"sha256":"'"$digest"'"}]}'
