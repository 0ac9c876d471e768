"""What can go wrong when the API's port is opened."""

from sidecar.core.errors import SidecarError


class HttpBindError(SidecarError, OSError):
    """The API's address cannot be used."""

    def __init__(self, address: str, reason: str, remedy: str) -> None:
        super().__init__(f"HTTP address {address}: {reason}; {remedy}")


class HttpPortTakenError(HttpBindError):
    """Someone else listens there."""

    def __init__(self, address: str) -> None:
        super().__init__(
            address,
            "is in use by another process",
            "stop that one, or give another --http HOST:PORT (port 0 takes any that is free)",
        )
