"""What the sidecar sees for itself: inotify, lock files, file contents, processes."""
