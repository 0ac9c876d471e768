"""The command as an operator runs it, beside a real sidecar and a stand-in for the gateway."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.demo.companion import command


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a command."""

    code: int
    output: str
    errors: str

    @property
    def report(self) -> dict[str, Any]:
        """What --json printed."""
        found: dict[str, Any] = json.loads(self.output)
        return found


async def start(*arguments: str | Path, state_dir: Path, **env: str) -> asyncio.subprocess.Process:
    """Start ``openclaw-sidecar`` with these arguments."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    own = {"HOME": str(state_dir.parent), "OPENCLAW_STATE_DIR": str(state_dir), "LANG": "C.UTF-8"}
    return await asyncio.create_subprocess_exec(
        command(),
        *arguments,
        env=kept | own | env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(*arguments: str | Path, state_dir: Path, **env: str) -> Ended:
    """Run it to its end."""
    process = await start(*arguments, state_dir=state_dir, **env)
    output, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())
