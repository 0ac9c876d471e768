"""A state directory with a real sidecar on it, asked with the real command; gateways are played on the link."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sidecar.demo.companion import Companion, command
from sidecar.intake.clocks import Reading
from sidecar.wire import messages as wire
from tests.driver.kit import HEADER, Gateway
from tests.link.kit import AT

PYTHON: Final = Path(sys.executable)
"""What the tests speak from."""

_SECOND: Final = 1_000_000_000


@dataclass
class Place:
    """A state directory with one session file of some age."""

    root: Path

    def __post_init__(self) -> None:
        (self.root / "sidecar").mkdir()
        self.file = self.root / "state" / "agents" / "main" / "sessions" / "0a1b.jsonl"
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(HEADER)

    def companion(self, *options: str) -> Companion:
        """Its sidecar; not started."""
        return Companion(self.root / "state", self.root / "sidecar", self.root / "s.sock", options, believes=PYTHON)

    async def gateway(self, sidecar: Companion) -> Gateway:
        """A linked process that writes and says so."""
        gateway = Gateway(*await asyncio.open_unix_connection(sidecar.socket))
        gateway.say(gateway.hello())
        assert isinstance(await gateway.answer(), wire.Welcome)
        gateway.say(wire.AdapterFound(seq=gateway.seq(), at=AT, adapter="swap"))
        return gateway

    async def ask(self, *arguments: str) -> tuple[int, Any]:
        """The command, as a person runs it, and its JSON."""
        code, out = await self.read(*arguments, "--json")
        return code, json.loads(out) if out else None

    async def read(self, *arguments: str) -> tuple[int, str]:
        """The command, as a person runs it."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(str(command()), *arguments),
            *("--state-dir", str(self.root / "state"), "--data-dir", str(self.root / "sidecar" / "data")),
            stdout=asyncio.subprocess.PIPE,
            env={**kept, "HOME": str(self.root), "LANG": "C.UTF-8"},
        )
        out, _err = await process.communicate()
        return process.returncode or 0, out.decode()


class Turning:
    """The kernel's clocks, which go on only when they are told to."""

    def __init__(self) -> None:
        self.now = Reading(real=1_700_000_000 * _SECOND, monotonic=50 * _SECOND, boot=60 * _SECOND)

    def read(self) -> Reading:
        return self.now

    def run(self, seconds: float) -> None:
        ns = int(seconds * _SECOND)
        self.now = Reading(self.now.real + ns, self.now.monotonic + ns, self.now.boot + ns)

    def sleep(self, seconds: float) -> None:
        ns = int(seconds * _SECOND)
        self.now = replace(self.now, real=self.now.real + ns, boot=self.now.boot + ns)

    def step(self, seconds: float) -> None:
        self.now = replace(self.now, real=self.now.real + int(seconds * _SECOND))
