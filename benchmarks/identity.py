"""What it costs to verify a link once, and to ask with each read who sent what has arrived."""

import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sidecar.core.policy.policy import Policy
from sidecar.identity.peer import Peer
from sidecar.identity.verification import Shown, Verification
from sidecar.link.connection import Connection
from sidecar.watch.identity import executable_of, start_ticks

LINKS: Final = 500
READS: Final = 20_000
ROUNDS: Final = 5
REPORT_BYTES: Final = 400
BATCH_BYTES: Final = 1 << 16
DESCRIPTORS: Final = 100

SCRIPT: Final = """
const fs = require("fs");
for (let number = 0; number < DESCRIPTORS; number += 1) fs.openSync("/dev/null", "r");
if (process.argv[2]) {
  fs.writeSync(fs.openSync(process.argv[2], "wx"), JSON.stringify({ pid: process.pid }));
  process.title = "openclaw-gateway";
}
console.log("ready");
process.stdin.resume();
"""
"""A program that looks like a gateway; with an argument it hides its command line and holds that lock."""


def measure_identity() -> Iterator[dict[str, Any]]:
    """CPU time that a link takes once, in milliseconds; that of a read, as a ratio to Python's own."""
    for kind in ("visible", "hidden"):
        with tempfile.TemporaryDirectory() as directory, _gateway(Path(directory), hidden=kind == "hidden") as peer:
            spent = sorted(_verify(Path(directory), peer))
        yield {
            "link": kind,
            "p50_ms": round(statistics.median(spent) * 1e3, 2),
            "p99_ms": round(spent[len(spent) * 99 // 100] * 1e3, 2),
        }
    for name, size in (("one report", REPORT_BYTES), ("a batch", BATCH_BYTES)):
        plain, asked = zip(*(_reads(size) for _ in range(ROUNDS)), strict=True)
        own, checked = statistics.median(plain), statistics.median(asked)
        yield {
            "read": name,
            "own_us": round(own * 1e6, 2),
            "checked_us": round(checked * 1e6, 2),
            "ratio": round(checked / own, 2),
        }


@contextmanager
def _gateway(place: Path, *, hidden: bool) -> Iterator[Peer]:
    package = place / "node_modules" / "openclaw"
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"name": "openclaw"}))
    script = package / "openclaw.js"
    script.write_text(SCRIPT.replace("DESCRIPTORS", str(DESCRIPTORS)))
    command = [shutil.which("node") or "node", str(script), *([str(place / "gateway.00.lock")] if hidden else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout is not None:
            process.stdout.readline()
        pid, pidfd = process.pid, os.pidfd_open(process.pid)
        try:
            yield Peer(pid, os.geteuid(), executable_of(pid), start_ticks(pid) or 0, pidfd)
        finally:
            os.close(pidfd)
            process.kill()


def _verify(place: Path, peer: Peer) -> Iterator[float]:
    verification = Verification(place / "data", Policy, str)
    for number in range(LINKS):
        link = f"link-{number}"
        before = time.thread_time()
        verification.meet(link, peer)
        identity = verification.verify(link, peer, "0" * 32, Shown())
        yield time.thread_time() - before
        if identity.unverified is not None:
            raise RuntimeError(f"not believed: {identity.unverified}")
        verification.left(link)


def _reads(size: int) -> tuple[float, float]:
    """Seconds for each read of so many bytes: by Python's own socket, and asking who sent them."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with sender, receiver, Connection.of(os.dup(receiver.fileno())) as checked:
        message = b"x" * size
        spent = {"own": 0.0, "checked": 0.0}
        reads: dict[str, Callable[[int], bytes]] = {"own": receiver.recv, "checked": checked.recv}
        for _ in range(READS // 100):
            for name, read in reads.items():
                # The credentials travel either way once one end asks for them; only the reading differs.
                for _ in range(100):
                    sender.sendall(message)
                    before = time.thread_time()
                    read(1 << 18)
                    spent[name] += time.thread_time() - before
    return spent["own"] / READS, spent["checked"] / READS
