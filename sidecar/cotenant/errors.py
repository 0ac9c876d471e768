"""What can go wrong with a write from outside. Each message says what, where and what to do, in one line."""

from pathlib import Path
from typing import ClassVar

from sidecar.core.errors import SidecarError


class CotenantError(SidecarError):
    """Nothing was written, unless the message says otherwise.

    Attributes:
        exit_code: Of the command: 1 for what COMMAND did, 2 for wrong usage, 3 where the world stood in the way.
    """

    exit_code: ClassVar[int] = 3


class SessionNameError(CotenantError, ValueError):
    """SESSION names no session file, or several."""

    exit_code = 2


class CommandError(CotenantError):
    """COMMAND did not do its part."""

    exit_code = 1

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; nothing was written")


class RecordsError(CommandError, ValueError):
    """What COMMAND gave is no run of whole records that continues the one line of history."""


class SessionFileError(CotenantError, OSError):
    """The session file is not in a state in which a record may be appended."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(f"session file {path}: {what}; nothing was written; {remedy}")


class LockHeldError(CotenantError, TimeoutError):
    """The session lock was not had in time."""

    def __init__(self, path: Path, holder: str, waited_seconds: float, remedy: str) -> None:
        super().__init__(
            f"session lock {path} is held by {holder}; gave up after {waited_seconds:.1f} s, nothing was written;"
            f" {remedy}"
        )


class LockLostError(CotenantError):
    """Somebody took the session lock away while it was held here."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"session lock {path} was taken away while this process held it; {what}")


class SidecarAwayError(CotenantError, ConnectionError):
    """There is no sidecar to announce the write to."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"no sidecar at {path}: {what}; nothing was written: start it (openclaw-sidecar run), name its --state-dir"
            " or --socket, or append as an unknown writer with --without-sidecar"
        )


class NotDeclaredError(CotenantError, PermissionError):
    """The policy of the sidecar does not make this program a co-tenant.

    Attributes:
        name: The name that it gave itself.
    """

    def __init__(self, path: Path, name: str, why: str) -> None:
        self.name = name
        super().__init__(
            f"the sidecar at {path} takes no announcements of {name}: {why}; nothing was written: add these lines to"
            f" its policy (`openclaw-sidecar policy allow {name} --write` does), and make the token that they ask for"
            " (`openclaw-sidecar hooks token`)"
        )


class NoCotenantError(CotenantError, PermissionError):
    """This process may be no co-tenant, whatever the policy says."""

    def __init__(self, path: Path, name: str, why: str) -> None:
        super().__init__(f"the sidecar at {path} takes no announcements of {name}: {why}; nothing was written")


class UnknownOwnerError(CotenantError):
    """Gateways would not respect a lock of this process."""

    def __init__(self) -> None:
        super().__init__(
            "a gateway respects the session lock only of a process with the word openclaw among its arguments, and"
            " this one could not be given it; run it as the command openclaw-sidecar"
        )


class WriteFailedError(CotenantError, OSError):
    """The operating system did not take the bytes."""
