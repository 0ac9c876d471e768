"""What can go wrong with the rig."""

from collections.abc import Iterable
from pathlib import Path


class RigError(Exception):
    """The rig cannot do what was asked of it."""


class NpmMissingError(RigError):
    """There is no npm to fetch a gateway with."""

    def __init__(self) -> None:
        super().__init__(
            "npm was not found on PATH, and the OpenClaw gateway comes from npm."
            " Install Node.js with npm (Debian, Ubuntu: apt-get install npm; macOS: brew install node) and try again."
        )


class NpmFailedError(RigError):
    """Npm ran and failed, or left something else than what was asked for."""

    def __init__(self, version: str, reason: str, last_lines: tuple[str, ...]) -> None:
        self.last_lines = last_lines
        super().__init__("\n  ".join((f"installing openclaw@{version} failed: {reason}", *last_lines)))


class StartError(RigError):
    """A gateway or a sidecar did not become ready."""

    def __init__(self, what: str, reason: str, last_lines: Iterable[str]) -> None:
        super().__init__("\n  ".join((f"{what} did not start: {reason}", *last_lines)))


class GatewayNotRunningError(RigError):
    """The gateway has not been started, or has been stopped."""

    def __init__(self) -> None:
        super().__init__("the gateway is not running: start it first")


class SessionUnknownError(RigError, LookupError):
    """The gateway has no session of that key."""

    def __init__(self, session_key: str, index: Path) -> None:
        super().__init__(f"no session {session_key!r} in {index}")


class ToolMissingError(RigError):
    """The model was told to call a tool that the gateway did not offer to it."""

    def __init__(self, name: str, offered: list[str]) -> None:
        super().__init__(f"the gateway offers no tool {name!r}, only: {', '.join(offered) or 'none'}")


class LineMissingError(RigError, TimeoutError):
    """A log line that was waited for did not come."""

    def __init__(self, text: str, path: Path, timeout_seconds: float, last_lines: tuple[str, ...]) -> None:
        super().__init__(
            "\n  ".join((f"no line with {text!r} in {path.name} within {timeout_seconds:g} s; its end:", *last_lines))
        )


class RpcError(RigError):
    """The gateway answered a call with an error."""

    def __init__(self, method: str, code: str, message: str) -> None:
        self.method = method
        self.code = code
        super().__init__(f"{method}: {code}: {message}")


class ConnectionLostError(RigError, ConnectionError):
    """The gateway closed the WebSocket while something was expected from it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the connection to the gateway is gone: {reason}")


class TurnEndedError(RigError):
    """A turn ended before it called the model, so there is no window to write in."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the turn ended with status {status} before it called the model: {text}")


class ForeignActError(RigError):
    """The foreign process could not do what it was started for."""

    def __init__(self, verb: str, output: str) -> None:
        super().__init__(f"foreign {verb}: {output.strip() or 'no output'}")


class NothingLostError(RigError):
    """The release loses no turn to a co-tenant, so there is nothing to show on it."""

    def __init__(self, release: str, newest: str) -> None:
        super().__init__(f"OpenClaw {release} has no fence and loses no such turn: try --release {newest}")
