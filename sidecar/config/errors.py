"""What can be wrong with the configuration. Each message says what, where and what to do, in one line."""

from pathlib import Path
from typing import ClassVar

from sidecar.core.errors import SidecarError
from sidecar.store.printable import one_line


class ConfigError(SidecarError, ValueError):
    """A setting cannot be used. Never shows the value of a notification URL.

    Attributes:
        usage: It came from the command line, so the command was used wrongly.
    """

    def __init__(self, origin: str, reason: str, *, usage: bool = False) -> None:
        self.usage = usage
        super().__init__(f"{one_line(origin)}: {one_line(reason)}")


class TokenError(SidecarError, ValueError):
    """A token can't be read, made or trusted."""

    def __init__(self, kind: str, path: Path, what: str) -> None:
        super().__init__(
            f"{kind} token {one_line(str(path))}: {one_line(what)}; `openclaw-sidecar {kind} token --rotate` makes a"
            " new one"
        )


class StartError(SidecarError):
    """The settings are well-formed, but the sidecar cannot start with them."""

    noun: ClassVar[str]

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(f"{self.noun} {one_line(str(path))}: {what}; {remedy}")


class StateDirError(StartError, OSError):
    """There is no state directory to watch, or we may not look into it."""

    noun = "state directory"


class SocketPathError(StartError, OSError):
    """No socket can be opened at the path."""

    noun = "socket"
