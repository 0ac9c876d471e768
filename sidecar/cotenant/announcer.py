"""A co-tenant's end of the link: says what it is about to do, and what it has done.

Nothing is left to the sidecar's patience: a begin is in its socket before the first byte is in the file. A thread
answers the sidecar's ``sync`` meanwhile; as long as that thread is quick, no gateway waits for this process.
"""

import contextlib
import os
import select
import socket
import struct
import threading
import time
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, Self

from sidecar import __version__
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Role
from sidecar.cotenant.change import Change
from sidecar.cotenant.errors import NoCotenantError, NotDeclaredError, SidecarAwayError
from sidecar.cotenant.lock import Hold
from sidecar.wire import messages as wire
from sidecar.wire.codec import decode_from_sidecar, encode
from sidecar.wire.proofs import token_proof

_BOUND_SECONDS: Final = 5.0
"""How long a sidecar may take to welcome us, to take in what we say, and to hang up."""

_HOLD: Final = "h1"
_WRITER: Final = wire.WireWriter(kind="declared")
"""Who it really is comes from the hello."""


Report = dict[str, Any]
"""Fields of a message."""


class Announces:
    """Says what is done to a session, to no one: to the sidecar, if one comes, the bytes are a stranger's."""

    _changes = 0

    @property
    def is_heard(self) -> bool:
        """What was said has gone to a sidecar."""
        return False

    def check(self) -> None:
        """Before something is done that must be announced.

        Raises:
            SidecarAwayError: It can't be.
        """

    def lock_taken(self, file: str, hold: Hold) -> None:
        """The session lock is held."""
        self._say(wire.LockTaken, {"file": file, "hold": _HOLD, "writer": _WRITER, "wait": str(hold.waited_ns)})

    def lock_failed(self, file: str, waited_ns: int) -> None:
        """The session lock was not had in time."""
        self._say(wire.LockFailed, {"file": file, "writer": _WRITER, "wait": str(waited_ns), "reason": "timeout"})

    def lock_released(self, file: str, after: Fingerprint, held_ns: int) -> None:
        """The session lock was given back; ``after`` is the file just before that."""
        fields = {"file": file, "hold": _HOLD, "writer": _WRITER, "after": after.encode(), "held": str(held_ns)}
        self._say(wire.LockReleased, fields)

    def begin(self, file: str, before: Fingerprint, announced: Change) -> Report:
        """A write comes. Returns what `end` wants."""
        self._changes += 1
        fields = {
            "file": file,
            "change": f"c{self._changes}",
            "op": announced.operation.value,
            "writer": _WRITER,
            "length": announced.length,
            "sha256": announced.sha256,
            "offset": announced.offset,
            "before": before.encode(),
        }
        self._say(wire.Changed, {**fields, "phase": "begin"})
        return fields

    def end(self, begun: Report, after: Fingerprint, other: Report | None = None) -> None:
        """The write has returned; ``other`` is what came out differently than was announced."""
        self._say(wire.Changed, {**begun, "phase": "end", "after": after.encode(), **(other or {})})

    def _say(self, kind: type[wire.FromGateway], fields: Report) -> None:
        """Say it to a sidecar, if there is one to be told."""


class Announcer(Announces):
    """Use as a context manager: linked within the block, and heard to the end after it."""

    def __init__(self, path: Path, name: str, state_dir: Path, token: str = "") -> None:
        """Nothing is opened yet.

        Args:
            path: The sidecar's socket.
            name: Who writes.
            state_dir: OpenClaw's state directory.
            token: The hooks token; empty when it is not known. It is proved and never sent: who listens learns nothing.
        """
        self._path = path
        self._name = name
        self._state_dir = state_dir
        self._token = token
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sending = threading.Lock()
        self._seq = 0
        self._broken = ""
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Link.

        Raises:
            SidecarAwayError: Nobody listens, or whoever does is no sidecar that takes us.
            NotDeclaredError: Its policy does not make this program a co-tenant.
            NoCotenantError: It may be none, whatever the policy says.
        """
        try:
            self._greet()
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        """Say goodbye and wait until the sidecar has taken in everything."""
        self._say(wire.Bye, {})
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        if self._reader is not None:
            self._reader.join(_BOUND_SECONDS)
        self._socket.close()

    @property
    def is_heard(self) -> bool:
        """The link stands."""
        return not self._broken

    def check(self) -> None:
        """The link must stand."""
        if self._broken:
            raise SidecarAwayError(self._path, self._broken)

    def _greet(self) -> None:
        self._socket.settimeout(_BOUND_SECONDS)
        try:
            self._socket.connect(str(self._path))
        except OSError as error:
            raise SidecarAwayError(self._path, error.strerror or str(error)) from error
        lines = self._socket.makefile("rb")
        challenge = self._challenge(lines) if self._token else ""
        own = {
            "protocol": wire.PROTOCOL,
            "oldest": wire.OLDEST,
            "pid": os.getpid(),
            "role": Role.COTENANT,
            "name": self._name,
            "proof": token_proof(self._token, challenge, self._name) if challenge else "",
        }
        self._say(wire.Hello, {**own, "preload": __version__, "state_dir": str(self._state_dir)})
        answer = _read(lines)
        if isinstance(answer, wire.Challenge):
            answer = _read(lines)
        if isinstance(answer, wire.Reject) and answer.code == wire.NOT_DECLARED:
            raise NotDeclaredError(self._path, self._name, answer.reason)
        if isinstance(answer, wire.Reject) and answer.code == wire.NO_COTENANT:
            raise NoCotenantError(self._path, self._name, answer.reason)
        if isinstance(answer, wire.Reject):
            raise SidecarAwayError(self._path, f"it refused: {answer.reason}")
        if not isinstance(answer, wire.Welcome):
            raise SidecarAwayError(self._path, "it did not answer")
        # A link may be silent for as long as it likes, but who does not take what we say is gone.
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(_BOUND_SECONDS), 0))
        self._reader = threading.Thread(target=self._listen, args=(lines,), daemon=True)
        self._reader.start()

    def _challenge(self, lines: BufferedReader) -> str:
        """The nonce that a sidecar sends first of all; empty when none came (one before protocol 3 sends none)."""
        if not select.select([self._socket], [], [], _BOUND_SECONDS)[0]:
            return ""
        first = _read(lines)
        return first.nonce if isinstance(first, wire.Challenge) else ""

    def _listen(self, lines: BufferedReader) -> None:
        while True:
            message = _read(lines)
            if message is None:
                break
            if isinstance(message, wire.Sync):
                self._say(wire.Synced, {"sync": message.sync})
        self._broken = self._broken or "it ended the link"

    def _say(self, kind: type[wire.FromGateway], fields: Report) -> None:
        with self._sending:
            if self._broken:
                return
            self._seq += 1
            try:
                self._socket.sendall(encode(kind(seq=self._seq, at=str(time.time_ns()), **fields)))  # type: ignore[arg-type] # their fields differ
            except OSError as error:
                self._broken = error.strerror or str(error)


def _read(lines: BufferedReader) -> wire.SidecarMessage | None:
    """The next message; None when there is none any more, or none that makes sense."""
    try:
        line = lines.readline(wire.MAX_LINE_BYTES)
        return decode_from_sidecar(line) if line else None
    except (OSError, ValueError):
        return None
