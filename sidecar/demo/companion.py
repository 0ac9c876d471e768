"""A sidecar as a process of its own, as operators run it."""

import asyncio
import json
import os
import secrets
import signal
import sys
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sidecar.config.policyedit import CotenantRule
from sidecar.core.policy.rules import Permission
from sidecar.demo.logs import LogFile
from sidecar.demo.running import Program
from sidecar.identity.keys import KEY_FILE, SECRET_BYTES

_SECRET: Final = secrets.token_bytes(SECRET_BYTES)
_POLL_SECONDS: Final = 0.02
_FETCH_SECONDS: Final = 10.0


class Companion(Program):
    """`openclaw-sidecar run` on a gateway's state directory.

    Args:
        state_dir: The gateway's.
        work_dir: Gets the data directory, HOME and the log.
        socket: Where gateways link.
        options: More options for ``run``, such as ``--observe``.
        env: Added to its environment, for example OTEL_EXPORTER_OTLP_ENDPOINT.
        prefix: What starts it, ahead of its own command, such as ``unshare --pid --fork``.
        believes: A program whose links it believes, by a rule of its policy; a gateway needs none.
        programs: Names of programs outside of OpenClaw that are co-tenants by its policy when this user runs them.
    """

    def __init__(
        self,
        state_dir: Path,
        work_dir: Path,
        socket: Path,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        *,
        prefix: Sequence[str] = (),
        believes: Path | None = None,
        programs: Sequence[str] = (),
    ) -> None:
        self.log = LogFile(work_dir / "sidecar.log")
        super().__init__(self.log, self.log)
        self.state_dir = state_dir
        self.data_dir = work_dir / "data"
        self.socket = socket
        self.options = tuple(options)
        self.env = dict(env or {})
        self.prefix = tuple(prefix)
        self._work_dir = work_dir
        self._believes = believes
        self._programs = tuple(programs)
        self._home = work_dir / "home"
        self._addresses = {"http": "", "metrics": ""}

    @property
    def url(self) -> str:
        """Address of its API."""
        return f"http://{self._addresses['http']}"

    @property
    def metrics_url(self) -> str:
        """Where scrapers and probes ask."""
        return f"http://{self._addresses['metrics']}"

    async def start(self, timeout_seconds: float = 60.0) -> None:
        """Start it and wait until it says that it is ready.

        Raises:
            StartError: It ended, or was not ready in time.
        """
        for directory in (self.data_dir, self._home):
            directory.mkdir(parents=True, exist_ok=True)
        self._share_secret()
        if self.prefix:  # its id in a namespace of its own is not known
            (self.data_dir / "runtime.json").unlink(missing_ok=True)
        pid = await self._launch(
            *self.prefix,
            command(),
            "run",
            *("--state-dir", str(self.state_dir), "--data-dir", str(self.data_dir)),
            *("--socket", str(self.socket), "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
            *self._policy(),
            *self.options,
            env=_environment(self._home) | self.env,
        )
        await self._await_ready("the sidecar", self._find_addresses(pid), timeout_seconds)

    def _policy(self) -> tuple[str, ...]:
        rules = [believing(self._believes)] if self._believes is not None else []
        rules += [CotenantRule(name=n, uids=(os.getuid(),), may=Permission.REWRITE).text for n in self._programs]
        if not rules:
            return ()
        file = self._work_dir / "policy.toml"
        file.write_text("\n".join(rules), encoding="utf-8")
        return ("--policy", str(file))

    def _share_secret(self) -> None:
        """A gateway obeys the sidecar that gave it its key, and those here are to take turns at one gateway."""
        path = self.data_dir / KEY_FILE
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(_SECRET)

    async def kill(self) -> None:
        """End it as ``kill -9`` does."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            await process.wait()

    def suspend(self) -> None:
        """Have it stand still, as a debugger or a frozen container does, until `go_on`."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End what `suspend` began."""
        os.kill(self.pid, signal.SIGCONT)

    async def status(self) -> dict[str, Any]:
        """What ``/v1/status`` says."""
        return await self._json("/v1/status")

    async def incidents(self, session: str = "") -> list[dict[str, Any]]:
        """The incidents of a session (path, id or hash), newest first; all when none is named."""
        found = await self._json(f"/v1/incidents?session={quote(session)}" if session else "/v1/incidents")
        incidents: list[dict[str, Any]] = found["incidents"]
        return incidents

    async def custody(self, session: str) -> dict[str, Any]:
        """The chain of custody of a session (path, id or hash)."""
        return await self._json(f"/v1/custody?session={quote(session)}")

    async def closed_incident(
        self, session: str, timeout_seconds: float = 60.0, besides: Collection[str] = ()
    ) -> dict[str, Any]:
        """Wait until the newest incident of a session has ended, and return it.

        Args:
            session: Path, id or hash.
            timeout_seconds: How long to wait.
            besides: The ids of its earlier incidents: the newest is another one, and may not be there yet.

        Raises:
            TimeoutError: There is none, or it does not end in time.
        """
        async with asyncio.timeout(timeout_seconds):
            while True:
                found = [incident for incident in await self.incidents(session) if incident["id"] not in besides]
                if found and found[0]["closed_at"]:
                    return found[0]
                await asyncio.sleep(_POLL_SECONDS)

    async def metrics(self) -> str:
        """What ``/metrics`` says."""
        return (await asyncio.to_thread(_fetch, f"{self.metrics_url}/metrics")).decode()

    async def wait_for(self, what: Callable[[dict[str, Any]], bool], timeout_seconds: float = 60.0) -> dict[str, Any]:
        """Wait until the status satisfies a condition, and return it.

        Raises:
            TimeoutError: It does not in time.
        """
        async with asyncio.timeout(timeout_seconds):
            while True:
                status = await self.status()
                if what(status):
                    return status
                await asyncio.sleep(_POLL_SECONDS)

    async def wait_linked(self, pid: int, timeout_seconds: float = 60.0) -> dict[str, Any]:
        """Wait until the gateway with this pid is linked and its adapter is known."""

        def linked(status: dict[str, Any]) -> bool:
            return any(g["pid"] == pid and g["linked"] and g["adapter"] != "pending" for g in status["gateways"])

        return await self.wait_for(linked, timeout_seconds)

    async def _json(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await asyncio.to_thread(_fetch, self.url + path))
        return found

    async def _find_addresses(self, pid: int) -> None:
        """Wait until the process says where it listens."""
        wanted = 0 if self.prefix else pid
        while not _is_of(facts := _facts(self.data_dir / "runtime.json"), wanted):  # noqa: ASYNC110 - a file of another process
            await asyncio.sleep(_POLL_SECONDS)
        self._addresses = {name: str(facts[name]) for name in self._addresses}


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_FETCH_SECONDS) as answer:  # noqa: S310 - always http on loopback
        body: bytes = answer.read()
        return body


def believing(executable: Path) -> str:
    """The rule of a policy that has links of this program believed."""
    return (
        f'[[rule]]\nname = "{executable.name}"\nexecutables = ["{executable.resolve()}"]\n'
        'unverified = true\nmay = "rewrite"\n'
    )


def command() -> Path:
    """The command `openclaw-sidecar` that belongs to this Python."""
    return Path(sys.executable).with_name("openclaw-sidecar")


def _is_of(facts: Mapping[str, Any], pid: int) -> bool:
    """This process wrote them; ``pid`` is 0 where its id is not known."""
    return bool(facts) and pid in {0, facts["pid"]}


def _facts(runtime: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(runtime.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def _environment(home: Path) -> dict[str, str]:
    # PYTHONPATH: the sidecar that runs is the one that this code belongs to, wherever it was started from.
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8"} | kept
