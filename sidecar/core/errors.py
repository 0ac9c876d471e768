"""The one error tree of the project."""


class SidecarError(Exception):
    """Base of every error that the sidecar raises on purpose."""


class FingerprintError(SidecarError, ValueError):
    """A fingerprint's text is neither ``absent`` nor five decimal numbers joined by colons."""

    def __init__(self, text: str) -> None:
        super().__init__(f"not a fingerprint: {text[:80]!r}; expected 'absent' or 'dev:ino:size:mtime_ns:ctime_ns'")


class IllegalStepError(SidecarError):
    """A window was to take a step that its state does not allow."""

    def __init__(self, window: str, state: str, step: str) -> None:
        self.window, self.state, self.step = window, state, step
        super().__init__(f"window {window}: no step {step!r} while it is {state!r}")
