"""What can go wrong with what the links are verified by."""

from pathlib import Path

from sidecar.core.errors import SidecarError


class KeyFileError(SidecarError, OSError):
    """The sidecar's own secret can't be used, or not be kept."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the secret of the link keys {path}: {reason}; mend it, or remove it: then each gateway gets a new key"
        )


class PinAwaitedError(SidecarError):
    """A process that can't be seen is to be believed, and the one that was pinned before may still come back."""

    def __init__(self) -> None:
        super().__init__("the gateway that was linked before this sidecar's start is waited for; try again")
