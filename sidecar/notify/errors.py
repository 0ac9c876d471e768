"""What can go wrong with notifications. No message shows more of a URL than its service: the rest may be secret."""

from sidecar.core.errors import SidecarError


class NotifyUrlError(SidecarError, ValueError):
    """A notification URL of the configuration is none that Apprise understands."""

    def __init__(self, label: str) -> None:
        """``label`` is its place in the configuration and its service, no secrets."""
        super().__init__(
            f"notification URL {label} is not one that Apprise accepts; look up the form of your service's URL in"
            " Apprise's documentation and correct it (--notify, OPENCLAW_SIDECAR_NOTIFY or notify in the --config file)"
        )


class DeliveryError(SidecarError):
    """A destination did not take a page this time."""
