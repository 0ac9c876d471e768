"""Programs that link, and say what they are told to say."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.core.policy.policy import Policy
from sidecar.identity.verification import Verification
from tests.link.kit import Stage, serving

SPEAKER: Final = """
import { createHmac } from "node:crypto";
import { spawn } from "node:child_process";
import { openSync, writeSync, readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { createInterface } from "node:readline";

const say = (value) => process.stdout.write(JSON.stringify(value) + "\\n");
const verbs = {
  link({ path, key = "", secret = "", challenge }) {
    const link = createConnection(path);
    createInterface({ input: link }).on("line", (line) => {
      const message = JSON.parse(line);
      if (message.t !== "challenge") return say(message);
      const text = "gateway\\n" + (challenge ?? message.nonce);
      const proof = secret && createHmac("sha256", Buffer.from(secret, "hex")).update(text).digest("hex");
      const hello = { t: "hello", seq: 1, at: "0", protocol: 3, pid: process.pid, key, proof, nonce: "5".repeat(32) };
      link.write(JSON.stringify(hello) + "\\n");
    });
  },
  hide({ title }) {
    process.title = title;
    say({ hidden: true });
  },
  lock({ file }) {
    const stat = readFileSync("/proc/self/stat", "latin1");
    const startTime = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
    writeSync(openSync(file, "wx"), JSON.stringify({ pid: process.pid, startTime }));
    say({ locked: true });
  },
  start({ script, path }) {
    const child = spawn(process.execPath, [script], { stdio: ["pipe", "inherit", "inherit"] });
    child.stdin.write(JSON.stringify({ verb: "link", path }) + "\\n");
    process.stdin.on("close", () => child.stdin.end());
  },
};
createInterface({ input: process.stdin }).on("line", (line) => {
  const { verb, ...what } = JSON.parse(line);
  verbs[verb](what);
}).on("close", () => process.exit(0));
"""
"""Does what it is told on its input, and prints what it hears."""


def node() -> str:
    """Node; without it there is nothing to try."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no Node here")
    return os.path.realpath(found)


def package_in(place: Path, name: str = "openclaw") -> Path:
    """A package with the speaker for its script."""
    directory = place / "node_modules" / "openclaw"
    directory.mkdir(parents=True)
    (directory / "package.json").write_text(json.dumps({"name": name}))
    script = directory / "openclaw.mjs"
    script.write_text(SPEAKER)
    return script


class Speaker:
    """A running program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def tell(self, verb: str, **what: object) -> dict[str, Any]:
        """Have it do something; what it prints then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"verb": verb, **what}).encode() + b"\n")
        line = await self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line)
        return found


@asynccontextmanager
async def speaking(*command: str | Path) -> AsyncIterator[Speaker]:
    """A program that obeys, until the end of the block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, command), stdin=pipe, stdout=pipe)
    try:
        yield Speaker(process)
    finally:
        await process.communicate(b"")


@asynccontextmanager
async def verifying(room: Path, policy: Policy | None = None) -> AsyncIterator[Stage]:
    """A server whose links are verified as those of a sidecar that runs."""
    in_force = policy or Policy()
    async with serving(room / "s.sock", Verification(room / "data", lambda: in_force, lambda: "")) as stage:
        yield stage
