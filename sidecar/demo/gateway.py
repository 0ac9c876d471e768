"""The real gateway as a process."""

import asyncio
import json
import math
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from sidecar.demo.configuration import TOKEN, startup_environment, write_configuration
from sidecar.demo.errors import GatewayNotRunningError, SessionUnknownError, StartError
from sidecar.demo.logs import LogFile
from sidecar.demo.loopback import HOST, post
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.plugins import PLUGIN_LIST, REFRESH, copy_whole, kept_plugin_list
from sidecar.demo.running import Program, signal_group

READY_LINE: Final = "[gateway] ready"


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What became of a user's turn.

    Attributes:
        status: HTTP status: 200 when it was answered, 500 when it was lost.
        text: The reply; empty when there is none.
        error: What the gateway said instead of a reply; empty when there is one.
        elapsed_seconds: From the question to its end.
    """

    status: int
    text: str
    error: str
    elapsed_seconds: float

    @property
    def answered(self) -> bool:
        """Whether the user got the reply."""
        return self.status == 200 and not self.error  # noqa: PLR2004 - the HTTP status itself


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of another command of OpenClaw."""

    pid: int
    code: int
    stdout: str
    stderr: str


class Gateway(Program):
    """A gateway with everything that it writes inside one directory.

    Args:
        package: What to run.
        work_dir: Gets the state directory, the workspace, HOME, temporary files and logs; created when missing.
        model_url: Address of the model's API.
        env: Added to its environment, for example NODE_OPTIONS.
        settings: Laid over its configuration.
        state_dir: The state directory of another gateway, to share it; its own when not named.
        prefix: What starts it, ahead of its own command, such as ``unshare --pid --fork``.
    """

    GRACE_SECONDS: ClassVar[float] = 5.0

    def __init__(
        self,
        package: GatewayPackage,
        work_dir: Path,
        model_url: str,
        env: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        *,
        state_dir: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        super().__init__(LogFile(work_dir / "stdout.log"), LogFile(work_dir / "stderr.log"))
        self.package = package
        self.work_dir = work_dir
        self._own_dir = work_dir / "state"
        self.state_dir = state_dir or self._own_dir
        self.env = dict(env or {})
        self.settings = dict(settings or {})
        self.prefix = tuple(prefix)
        self.port = 0
        self._model_url = model_url
        self._name = f"gateway {package.version}"

    @property
    def pid(self) -> int:
        """The gateway's process id; that of what starts it, where something does."""
        if self._process is None:
            raise GatewayNotRunningError
        return super().pid

    @property
    def token(self) -> str:
        """What clients authenticate with."""
        return TOKEN

    @property
    def url(self) -> str:
        """Address of its WebSocket."""
        return f"ws://{HOST}:{self.port}"

    async def start(self, timeout_seconds: float = 90.0) -> None:
        """Start the process and wait until it says that it is ready.

        Raises:
            StartError: It ended, or was not ready in time; carries the end of its output.
        """
        self.port = _free_port()
        workspace = self.work_dir / "workspace"
        for directory in (self.state_dir, self._own_dir, self.work_dir / "home", self.work_dir / "tmp", workspace):
            directory.mkdir(parents=True, exist_ok=True)
        where = (self._own_dir, workspace, self.port, self._model_url, self.settings)
        configuration = write_configuration(*where, version=self.package.version)
        await self._list_plugins(configuration)
        self.stdout.path.touch()
        seen = self.stdout.size_bytes
        process = (self.package.node, self.package.cli, "gateway", "--port", str(self.port))
        await self._launch(*self.prefix, *process, env=self.environment(), cwd=workspace)
        ready = self.stdout.wait_for(READY_LINE, math.inf, after_bytes=seen)
        await self._await_ready(self._name, ready, timeout_seconds)

    def environment(self) -> dict[str, str]:
        """What it runs in, and what other commands of the same installation run in."""
        return {
            "PATH": f"{self.package.executables}:{os.environ.get('PATH', os.defpath)}",
            "LANG": "C.UTF-8",
            "HOME": str(self.work_dir / "home"),
            "TMPDIR": str(self.work_dir / "tmp"),
            "OPENCLAW_STATE_DIR": str(self.state_dir),
            "OPENCLAW_CONFIG_PATH": str(self._own_dir / "openclaw.json"),
            **startup_environment(self.package),
            **self.env,
        }

    async def command(
        self, *arguments: str, timeout_seconds: float = 90.0, env: Mapping[str, str] | None = None
    ) -> CommandResult:
        """Run another command of OpenClaw beside it, as an operator does in a shell.

        Args:
            arguments: The command.
            timeout_seconds: How long it may take.
            env: Laid over the gateway's environment.

        Raises:
            TimeoutError: It has not ended in time; it is killed.
        """
        process = await asyncio.create_subprocess_exec(
            self.package.node,
            self.package.cli,
            *arguments,
            cwd=self.work_dir / "workspace",
            env={**self.environment(), "OPENCLAW_GATEWAY_TOKEN": self.token, **(env or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(timeout_seconds):
                stdout, stderr = await process.communicate()
        finally:
            if process.returncode is None:
                signal_group(process, signal.SIGKILL)
                await process.wait()
        return CommandResult(process.pid, process.returncode or 0, stdout.decode(), stderr.decode())

    async def turn(self, session_key: str, text: str, timeout_seconds: float = 90.0) -> TurnResult:
        """Ask something in a session, as a user does, and wait for what comes of it.

        Args:
            session_key: For example ``agent:main:main``; a new one makes a new session.
            text: The user's message.
            timeout_seconds: How long to wait for the end of the turn.

        Raises:
            TimeoutError: It has not ended in time.
            ConnectionError: The gateway is not there, or ended meanwhile.
        """
        headers = {
            "authorization": f"Bearer {self.token}",
            "content-type": "application/json",
            "x-openclaw-session-key": session_key,
        }
        body = {"model": "openclaw/main", "messages": [{"role": "user", "content": text}]}
        started = time.monotonic()
        async with asyncio.timeout(timeout_seconds):
            response = await post(self.port, "/v1/chat/completions", headers, json.dumps(body).encode())
        return _turn_result(response.status, response.body, time.monotonic() - started)

    def sessions_dir(self, agent: str = "main") -> Path:
        """Where an agent's session files are."""
        return self.state_dir / "agents" / agent / "sessions"

    def database(self, session_key: str) -> Path:
        """The database with a session's rows, for releases that keep sessions so."""
        return self.state_dir / "agents" / _agent(session_key) / "agent" / "openclaw-agent.sqlite"

    def session_file(self, session_key: str) -> Path:
        """The file of a session's transcript.

        Raises:
            SessionUnknownError: The gateway has no such session.
        """
        index = self.sessions_dir(_agent(session_key)) / "sessions.json"
        try:
            entry = json.loads(index.read_text())[session_key]
        except (FileNotFoundError, KeyError):
            raise SessionUnknownError(session_key, index) from None
        return index.parent / (entry.get("sessionFile") or f"{entry['sessionId']}.jsonl")

    async def _list_plugins(self, configuration: Mapping[str, Any]) -> None:
        """Have the list of plugins in the state directory that a user's install has there."""
        listed, kept = self.state_dir / PLUGIN_LIST, kept_plugin_list(self.package, configuration)
        if kept is None or listed.is_file():
            return
        mark = str(os.getpid())
        if not kept.is_file():
            result = await self.command(*REFRESH, env={"NODE_OPTIONS": ""})  # the preload has nothing to do in it
            if result.code or not listed.is_file():
                reason = f"openclaw {' '.join(REFRESH)} ended with status {result.code}"
                raise StartError(self._name, reason, result.stderr.splitlines()[-15:])
            copy_whole(listed, kept, mark)
        else:
            copy_whole(kept, listed, mark)


def _agent(session_key: str) -> str:
    return session_key.split(":", 2)[1]


def _turn_result(status: int, body: bytes, elapsed_seconds: float) -> TurnResult:
    try:
        answer = json.loads(body)
        if status == 200:  # noqa: PLR2004 - the HTTP status itself
            return TurnResult(status, answer["choices"][0]["message"]["content"], "", elapsed_seconds)
        return TurnResult(status, "", answer["error"]["message"], elapsed_seconds)
    except (ValueError, LookupError, TypeError):
        return TurnResult(status, "", body.decode("utf-8", "replace"), elapsed_seconds)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
