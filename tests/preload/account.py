"""A Node process whose node:fs is watched by the preload, and the proof that what it reported is what happened."""

import re
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from sidecar.core.custody.files.explain import Explanation, explain
from sidecar.core.custody.files.manifest import Manifest
from sidecar.core.facts.change import Change
from sidecar.core.facts.content import BytesContent
from sidecar.link.changes import ChangeReader, Speaker
from sidecar.watch.reading import fingerprint_of
from sidecar.wire import messages as wire
from sidecar.wire.codec import decode_from_gateway
from tests.preload.kit import PRELOAD, Node

STYLES: Final = ("default", "namespace", "named")
"""How a module comes by the functions of node:fs."""

_HARNESS: Final = """
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { promisify } from "node:util";
IMPORTS
const { onTrouble } = await import(process.argv[2] + "/guard.mjs");
const { watchFileSystem } = await import(process.argv[2] + "/account/fs_hooks.mjs");
let reports = [];
let troubles = [];
onTrouble((where, reason) => troubles.push(`${where}: ${reason}`));
let lost = 0;
const link = {
  hears: true,
  send: (type, fields) => reports.push({ t: type, ...fields }),
  lose: () => void (lost += 1),
};
watchFileSystem(link);
const called = (start) => new Promise((done, fail) => start((error, value) => (error ? fail(error) : done(value))));
let fd;
let handle;
const act = (code, file, dir, beside) => eval(`(async () => { ${code} })()`);
for await (const line of createInterface({ input: process.stdin })) {
  const { code, file, dir, beside } = JSON.parse(line);
  reports = [];
  troubles = [];
  let error = null;
  let value = null;
  try {
    value = (await act(code, file, dir, beside)) ?? null;
  } catch (caught) {
    error = String(caught?.code ?? caught?.stack ?? caught);
  }
  if (fd !== undefined) await called((done) => CLOSE(fd, done));
  if (handle !== undefined) await handle.close();
  fd = handle = undefined;
  process.stdout.write(`${JSON.stringify({ reports, troubles, error, value })}\\n`);
}
"""

_IMPORTS: Final = {
    "default": 'import fs from "node:fs";\nimport fsp from "node:fs/promises";',
    "namespace": 'import * as fs from "node:fs";\nimport * as fsp from "node:fs/promises";',
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one piece of code led to.

    Attributes:
        reports: What the preload said, as the sidecar reads it.
        troubles: Errors of the preload's own.
        error: Code of the error that the piece ended with; empty when it did not.
        value: What it returned.
    """

    reports: tuple[wire.Changed, ...]
    troubles: tuple[str, ...]
    error: str
    value: Any

    @property
    def ends(self) -> tuple[wire.Changed, ...]:
        """One report for each call: the last one about it."""
        return tuple(r for r in self.reports if r.phase != "begin")

    def changes(self) -> list[Change]:
        """The reports as the core gets them."""
        reader = ChangeReader("link-1", Speaker(1))
        found: dict[str, Change] = {}
        for report in self.reports:
            found[report.change] = reader.read(report)
        return list(found.values())


class Account:
    """A Node process in which pieces of code run one after the other, on any file."""

    def __init__(self, node: Path, directory: Path, style: str, names: Sequence[str], *, fsize: int = 0) -> None:
        self._style = style
        self._seq = 0
        self._directory = directory
        self._directories = 0
        script = directory / f"harness-{style}.mjs"
        script.write_text(_harness(style, names))
        self._node = Node(node, script, PRELOAD.parent.as_uri(), cwd=directory)
        if fsize:
            resource.prlimit(self._node.process.pid, resource.RLIMIT_FSIZE, (fsize, fsize))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._node.__exit__()

    def fresh_directory(self) -> Path:
        """An empty directory below the one that the process runs in."""
        self._directories += 1
        fresh = self._directory / str(self._directories)
        fresh.mkdir()
        return fresh

    def do(self, code: str, file: Path) -> Outcome:
        """Run a piece of code that sees ``fs``, ``fsp``, ``file``, its ``dir``, and another path ``beside`` it."""
        said = self._node.ask(
            {
                "code": _as_named(code) if self._style == "named" else code,
                "file": str(file),
                "dir": str(file.parent),
                "beside": str(file.with_suffix(".tmp")),
            }
        )
        return Outcome(
            reports=tuple(self._read(report) for report in said["reports"]),
            troubles=tuple(said["troubles"]),
            error=said["error"] or "",
            value=said["value"],
        )

    def _read(self, report: dict[str, Any]) -> wire.Changed:
        """The report as it comes out at the other end of a link."""
        self._seq += 1
        message = decode_from_gateway(msgspec.json.encode({"seq": self._seq, "at": str(self._seq), **report}))
        assert isinstance(message, wire.Changed)
        return message


def _harness(style: str, names: Sequence[str]) -> str:
    imports = _IMPORTS.get(style) or _named_imports([*names, "fs.close"])
    return _HARNESS.replace("IMPORTS", imports).replace("CLOSE", "fs_close" if style == "named" else "fs.close")


def imported_names(codes: Sequence[str]) -> list[str]:
    """What the pieces of code use of ``fs`` and ``fsp``."""
    return sorted({found for code in codes for found in re.findall(r"\bfsp?\.\w+", code)})


def _named_imports(names: Sequence[str]) -> str:
    names = sorted(set(names))
    modules = {"fs": "node:fs", "fsp": "node:fs/promises"}
    found = [name.split(".") for name in names]
    return "\n".join(f'import {{ {name} as {owner}_{name} }} from "{modules[owner]}";' for owner, name in found)


def _as_named(code: str) -> str:
    return re.sub(r"\b(fsp?)\.(\w+)", r"\1_\2", code)


def replay(before: bytes, outcome: Outcome, after: bytes) -> Explanation:
    """Hold the reports against what the file holds."""
    return explain(Manifest.baseline(BytesContent(before)), outcome.changes(), BytesContent(after))


def assert_complete(before: bytes, outcome: Outcome, file: Path) -> None:
    """Every byte of the file was there before or was reported, once; nothing else was reported."""
    after = file.read_bytes() if file.exists() else b""
    found = replay(before, outcome, after)
    assert found.unexplained == (), (found, outcome)
    assert found.determinate, outcome
    assert outcome.troubles == ()


def assert_unbroken(first: str, outcome: Outcome, file: Path) -> None:
    """Each call found the file as the one ahead of it left it, and the last one as it is now."""
    here = first
    for report in outcome.ends:
        assert report.before == here, outcome.ends
        here = report.after
    assert here == fingerprint_of(file).encode()


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return sha256(data).hexdigest()
