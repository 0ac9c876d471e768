"""What a linked process reports beside the events that a verdict rests on. Times are nanoseconds since the epoch."""

from sidecar.core.facts.value import Value
from sidecar.core.facts.writer import Writer


class Diagnostic(Value, frozen=True, kw_only=True):
    """An event of the gateway's diagnostics bus, or a line of its log (``log.`` and what the line says).

    The wire's message is one of these, so that it is taken in as it was decoded.

    Attributes:
        at: When, in decimal.
        event: The bus's own name, such as ``model.call.started``.
        exported: The gateway exports the run's span itself; ``trace``, ``span`` and ``parent`` are its own.
        unsampled: It would export the span, and has left this one out.
        session: Hash of the session key.
        file: The session file that a line of the log names.
        tool: The name of an agent's tool that is called, such as ``exec``.
    """

    at: str
    event: str
    run: str = ""
    call: str = ""
    session: str = ""
    provider: str = ""
    model: str = ""
    duration_ms: float = 0.0
    trace: str = ""
    span: str = ""
    parent: str = ""
    exported: bool = False
    unsampled: bool = False
    state: str = ""
    reason: str = ""
    error: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    file: str = ""
    tool: str = ""

    @property
    def at_ns(self) -> int:
        """When."""
        return int(self.at)


class LockFailed(Value, frozen=True, kw_only=True):
    """A writer did not acquire the session lock: ``reason`` is timeout, stale, aborted or error."""

    file: str
    writer: Writer
    wait_ns: int
    reason: str
    at_ns: int


class WriteFailed(Value, frozen=True, kw_only=True):
    """A call that changes this session file failed and may have written anything."""

    file: str


class AdapterFound(Value, frozen=True, kw_only=True):
    """The preload knows which fence the gateway has.

    Attributes:
        adapter: In the preload's own word.
        reason: Why no other fits, for a person.
        new: It differs from what the link said before.
    """

    adapter: str
    reason: str
    new: bool
    at_ns: int


class PreloadTrouble(Value, frozen=True, kw_only=True):
    """The preload caught an error of its own and stepped aside."""

    where: str
    reason: str


Report = Diagnostic | LockFailed | WriteFailed | AdapterFound | PreloadTrouble
