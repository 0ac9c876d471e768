"""What can go wrong when a listener is opened."""

from sidecar.core.errors import SidecarError


class HttpBindError(SidecarError, OSError):
    """The address of a listener cannot be used."""

    def __init__(self, address: str, reason: str, remedy: str) -> None:
        super().__init__(f"HTTP address {address}: {reason}; {remedy}")


class HttpPortTakenError(HttpBindError):
    """Someone else listens there."""

    def __init__(self, address: str, option: str) -> None:
        super().__init__(
            address,
            "is in use by another process",
            f"stop that one, or give another {option} HOST:PORT (port 0 takes any that is free)",
        )


class HttpTokenError(HttpBindError):
    """The API would be open to others, and has no token."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            address,
            f"is not on loopback, and {reason}",
            "`openclaw-sidecar api token` makes the token, for the same --state-dir and --data-dir. For scrapers there"
            " is --metrics HOST:PORT, which needs none",
        )
