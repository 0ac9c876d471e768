"""What the tests of the preload share: Node processes, and a sidecar that says what it is told to say."""

import atexit
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from sidecar.preload import preload_path
from sidecar.wire.codec import decode_from_gateway, encode
from sidecar.wire.messages import PROTOCOL, Approve, GatewayMessage, SidecarMessage, Sync, Welcome

PATIENCE_SECONDS: Final = 90.0
"""How long a test waits for what must come; it takes milliseconds."""

PRELOAD: Final = preload_path()

BOUND_MS: Final = 250
"""How long a gateway waits for an answer."""

PATIENT_MS: Final = 60_000
"""How long it waits in these tests, but for those that are about the bound: a busy machine answers in its own time."""

SLACK_MS: Final = 20_000
"""What a busy machine may add to a bound. The alternative is a wait without one."""
MODELS: Final = Path(__file__).parent / "models"

SLOW_WRITE: Final = """
  g.more = new Promise((resolve) => { g.goOn = resolve; });
  g.writing = fsp.appendFile(file, (async function* () { await g.more; yield "x\\n"; })());
  await new Promise((later) => setTimeout(later, 5));
"""
"""A write that is under way until `g.goOn()`."""

HISTORY: Final = b'{"type":"session","id":"s1"}\n{"type":"message","id":"first","parentId":null}\n'
"""What a session file holds before a run."""

WELCOME: Final = Welcome(protocol=PROTOCOL, sidecar="0", mode="recover", verified=True)

UNWATCHED: Final = {
    "function installSessionEventWriteLock(params) {\n  return params.session;\n}": """\
function readSessionFileFingerprintSync(sessionFile) {
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(sessionFile, { bigint: true });
  return { exists: true, dev, ino, size, mtimeNs, ctimeNs };
}

function installSessionEventWriteLock({ session, withSessionWriteLock }) {
  const original = session._processAgentEvent;
  if (typeof original !== "function") return;
  session.__openclawSessionEventWriteLockInstalled = true;
  session._processAgentEvent = (event) => withSessionWriteLock(() => original.call(session, event));
}""",
    "    hasSessionTakeover:": """\
    refreshAfterOwnedSessionWrite() {
      if (fenced && !takeover) fence = readSessionFileFingerprintSync(file);
    },
    hasSessionTakeover:""",
    'from "node:async_hooks";\n': 'from "node:async_hooks";\nimport { statSync } from "node:fs";\n',
    "  readSessionFileFingerprint,\n  run": "  readSessionFileFingerprint,\n  readSessionFileFingerprintSync,\n  run",
}
"""How 2026.5.22 to 5.27 differ from models/swap.mjs: the check is put around a method that the agent's session may not
have, and what a run writes beside it sets the fence anew. tests/e2e/test_unwatched_fence.py runs the real 2026.5.22."""

Told = dict[str, Any]
Answer = SidecarMessage | bytes


@cache
def patient_preload() -> Path:
    """A copy of the preload in which ``setAskBoundMs`` changes how long the gateway waits for an answer."""
    room = tempfile.mkdtemp(prefix="ocs-")
    atexit.register(shutil.rmtree, room, ignore_errors=True)
    copy = Path(shutil.copytree(PRELOAD.parent, Path(room) / PRELOAD.parent.name))
    deadlines = copy / "fence" / "deadlines.mjs"
    constant = f"export const ASK_BOUND_MS = {BOUND_MS};"
    text = deadlines.read_text()
    assert constant in text
    setter = "globalThis.setAskBoundMs = (ms) => { globalThis.askBoundMs = ASK_BOUND_MS = ms; };"
    deadlines.write_text(text.replace(constant, f"export let ASK_BOUND_MS = {BOUND_MS};\n{setter}"))
    return copy / PRELOAD.name


@contextmanager
def socket_directory() -> Iterator[Path]:
    """A directory whose name is short: a socket's path has 108 bytes, and pytest's own directories are long."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        yield Path(directory)


def clean_environment(**more: str) -> dict[str, str]:
    """Our environment without anything that steers Node or the preload."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NODE_", "OPENCLAW_"))}
    return {**kept, **more}


class Node:
    """A running Node program that talks in lines of JSON on its stdin and stdout."""

    def __init__(self, *command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env if env is not None else clean_environment(),
            cwd=cwd,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def say(self, value: object) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:  # noqa: ANN401 - whatever the program says
        """The next line; fails with what the program wrote to stderr when it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
            raise AssertionError(f"the Node program ended ({self.process.returncode}): {errors}")
        return json.loads(line)

    def ask(self, value: object) -> Any:  # noqa: ANN401 - whatever the program says
        """Send a line and wait for one."""
        self.say(value)
        return self.hear()

    def end(self) -> str:
        """Close its stdin and wait for its orderly end. What it wrote to stderr."""
        _, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0, errors
        return errors


EVALUATE: Final = """
import fs from "node:fs";
import { createInterface } from "node:readline";
PROGRAM
for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try {
    said = { value: (await eval(`(async () => { ${JSON.parse(line)} })()`)) ?? null };
  } catch (error) {
    said = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(said)}\\n`);
}
"""


class Evaluator(Node):
    """A Node program in which pieces of code run one after the other, in the scope of a module."""

    def __init__(self, node: Path, directory: Path, program: str) -> None:
        script = directory / "evaluate.mjs"
        script.write_text(EVALUATE.replace("PROGRAM", program))
        super().__init__(node, script, cwd=directory)

    def do(self, code: str) -> Any:  # noqa: ANN401 - whatever the code returns
        """Run a piece of code, and give what it returns."""
        said = self.ask(code)
        assert "error" not in said, said
        return said["value"]


class Connection:
    """One link, from the sidecar's end."""

    def __init__(self, end: socket.socket, number: int) -> None:
        self.number = number
        self.end = end
        self.raw: list[bytes] = []
        self.told: list[Told] = []
        self.synced: set[str] = set()
        self.greeted = False
        self.closed = False

    @property
    def messages(self) -> list[GatewayMessage]:
        """What the gateway said, as the real sidecar reads it: a line that it would refuse fails the test."""
        return [decode_from_gateway(line) for line in tuple(self.raw)]

    def say(self, *answers: Answer) -> None:
        """Send messages, or bytes as they are."""
        for answer in answers:
            self.end.sendall(answer if isinstance(answer, bytes) else encode(answer))


class Sidecar:
    """The sidecar's end of the socket.

    ``answer`` says what follows on each message; a hello is welcomed by default. ``opening`` says what is sent ahead of
    the first message; nothing by default, as with sidecars up to protocol 2.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: list[Connection] = []
        self.answer: Callable[[Connection, Told], Iterable[Answer]] = welcome
        self.opening: Callable[[Connection], Iterable[Answer]] = lambda _: ()
        self._reading = threading.Event()
        self._reading.set()
        self._syncs = itertools.count(1)
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._reading.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            self.hang_up(connection)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
        for connection in self.connections:
            connection.end.close()

    @property
    def told(self) -> list[Told]:
        """Everything that came since the last `renew`, on whatever link."""
        return [message for connection in self.connections for message in tuple(connection.told)]

    def said(self, kind: str) -> list[Told]:
        """Everything of one type."""
        return [message for message in self.told if message["t"] == kind]

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:  # noqa: ANN401 - what the condition gives
        """Wait until something that came makes the condition true, and give its value."""
        with self._changed:
            found = self._changed.wait_for(condition, PATIENCE_SECONDS)
        assert found, f"{what} did not come; what came last: {[m['t'] for m in self.told][-20:]}"
        return found

    def wait_for_said(self, kind: str, count: int = 1) -> list[Told]:
        """Wait for so many messages of a type."""
        found: list[Told] = self.wait_for(
            lambda: (s := self.said(kind)) if len(self.said(kind)) >= count else None, f"{count} x {kind}"
        )
        return found

    def wait_for_adapter(self, *wanted: str) -> Told:
        """Wait until an adapter is told, one of these; without any, one that is not pending."""

        def told() -> list[Told]:
            return [
                m for m in self.said("adapter") if (m["adapter"] in wanted if wanted else m["adapter"] != "pending")
            ]

        found: Told = self.wait_for(told, f"the adapter {wanted}")[0]
        return found

    def wait_for_end(self, number: int = 0) -> Connection:
        """Wait until a link is gone."""
        self.wait_for(lambda: len(self.connections) > number and self.connections[number].closed, "the link's end")
        return self.connections[number]

    @property
    def link(self) -> Connection:
        """The last link."""
        return self.connections[-1]

    def pause(self) -> threading.Event:
        """Read nothing more on any link until the event is set."""
        self._reading.clear()
        return self._reading

    def renew(self, *, forget: bool = True) -> None:
        """Wait until a link is up again and everything sent to it has been taken in; forget what was said so far."""
        self.answer = welcome
        while not self._reaches_link(WELCOME):  # again, in case a test took it back
            pass
        for connection in self.connections if forget else ():
            connection.raw.clear()
            connection.told.clear()

    def sync(self) -> None:
        """Wait until the gateway has taken in all that was sent to it, and has told all that it did."""
        assert self._reaches_link()

    def _reaches_link(self, *first: Answer) -> bool:
        """Whether the last link answers."""
        self.wait_for(lambda: self.connections and not self.link.closed and self.link.greeted, "a link")
        link, name = self.link, f"s{next(self._syncs)}"
        with suppress(OSError):
            link.say(*first, Sync(sync=name))
        self.wait_for(lambda: link.closed or name in link.synced, "the answer to a sync")
        return name in link.synced

    def hang_up(self, connection: Connection) -> None:
        """End a link."""
        with suppress(OSError):  # the gateway may have been faster
            connection.end.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                end, _ = self._listener.accept()
            except OSError:
                return
            connection = Connection(end, len(self.connections))
            with self._changed:
                self.connections.append(connection)
                self._changed.notify_all()
            self._start(self._serve, connection)

    def _serve(self, connection: Connection) -> None:
        try:
            connection.say(*self.opening(connection))
            with connection.end.makefile("rb") as lines:
                while self._reading.wait() and (line := lines.readline()):
                    message = json.loads(line)
                    with self._changed:
                        connection.raw.append(line)
                        connection.told.append(message)
                        connection.synced.add(message.get("sync", ""))
                        self._changed.notify_all()
                    with suppress(OSError):  # a gateway that has said all and gone is still heard to its end
                        connection.say(*self.answer(connection, message))
                    with self._changed:  # only now: nothing that a test says may overtake the answer to the hello
                        connection.greeted = True
                        self._changed.notify_all()
        except OSError:
            pass  # a gateway that is gone
        with self._changed:
            connection.closed = True
            self._changed.notify_all()


def welcome(_connection: Connection, message: Told) -> Iterable[Answer]:
    """The answer to a hello."""
    if message["t"] == "hello":
        yield WELCOME


def approval(ask: Told, /, **other: str) -> Approve:
    """The yes that fits a question, or one that differs from it."""
    fitting = {name: ask[name] for name in ("window", "fence", "current", "ask")}
    return Approve(**{**fitting, **other})


def approving(connection: Connection, message: Told) -> Iterable[Answer]:
    """Yes to everything."""
    yield from welcome(connection, message)
    if message["t"] == "ask":
        yield approval(message)


def unwatched_model() -> str:
    """The model of 2026.5.22 to 5.27."""
    text = (MODELS / "swap.mjs").read_text()
    for old, new in UNWATCHED.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


class Gateway(Node):
    """A model of the gateway with the real preload in it, linked to a socket."""

    def __init__(self, node: Path, directory: Path, socket_path: Path, *, model: str = "swap", **env: str) -> None:
        bundle = directory / "dist"
        shutil.copytree(MODELS, bundle, dirs_exist_ok=True)
        (bundle / "unwatched.mjs").write_text(unwatched_model())
        (directory / "package.json").write_text('{"name": "openclaw", "version": "2026.5.18"}')
        (directory / "driver.mjs").write_text((MODELS / "driver.mjs").read_text())
        self._sessions = directory / "agents" / "main" / "sessions"
        self._sessions.mkdir(parents=True)
        self.file = self._sessions
        linked = {"OPENCLAW_SIDECAR_SOCKET": str(socket_path), "OPENCLAW_STATE_DIR": str(directory)}
        hooked = {"NODE_OPTIONS": f"--import={patient_preload()}", **linked, **env}
        command = (node, directory / "driver.mjs", (bundle / f"{model}.mjs").as_uri())
        super().__init__(*command, env=clean_environment(**hooked), cwd=directory)
        self.renew()

    def renew(self) -> None:
        """Go on with a session file of its own."""
        self.file = self._sessions / f"s{sum(1 for _ in self._sessions.iterdir())}.jsonl"
        self.file.write_bytes(HISTORY)
        self.do(f"use({str(self.file)!r})")
        self.wait_at_most(PATIENT_MS)

    def wait_at_most(self, bound_ms: int) -> None:
        """Wait for an answer for so long."""
        self.do(f"globalThis.setAskBoundMs?.({bound_ms})")

    def do(self, code: str) -> Any:  # noqa: ANN401 - whatever the code returns
        """Run a piece of code (models/driver.mjs has what it can use)."""
        said = self.ask({"code": code})
        assert "error" not in said, said
        return said["value"]

    def records(self) -> list[Told]:
        """The records in the session file."""
        return [json.loads(line) for line in self.file.read_text().splitlines()]
