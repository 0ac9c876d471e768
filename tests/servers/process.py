"""A server as a process of its own: on a free port of loopback, with its files below one directory."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_REQUEST_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02
_LISTENING: Final = re.compile(r'msg="Listening on" address=127\.0\.0\.1:(\d+)')


class ServerError(RuntimeError):
    """A server did not start or does not answer; carries the end of its log."""

    def __init__(self, name: str, reason: str, log: str) -> None:
        super().__init__("\n  ".join((f"{name} {reason}", *log.splitlines()[-20:])))


def free_port() -> int:
    """A port of loopback that no one listens on, for servers that do not say which one they were given."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Server(ABC):
    """A server: the Prometheus family's names its port in its log and is ready when ``/-/ready`` says so.

    A second start, after `stop` or `kill`, takes the same port and data.

    Args:
        name: For messages and the log's file name.
        work_dir: Gets its files; created when missing.
    """

    _READY: ClassVar = "/-/ready"

    def __init__(self, name: str, work_dir: Path) -> None:
        self._name = name
        self.work_dir = work_dir
        self._log = work_dir / f"{name}.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self, address: str) -> Sequence[str]:
        """The command that serves at an address."""

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{self.address}"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """Its process; 0 when it does not run."""
        return self._process.pid if self._process else 0

    @property
    def log(self) -> str:
        """What it wrote, over all its starts."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ServerError: It ended, or was not ready in time.
        """
        self.work_dir.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            begin = output.tell()
            self._process = subprocess.Popen(
                self._command(self.address),
                cwd=self.work_dir,
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.work_dir)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            self._await_ready(self._process, begin)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in order; kill it when it does not end in time."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def reload(self) -> None:
        """Have it read its configuration again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """The JSON at a path.

        Raises:
            ServerError: It does not answer, or with an error.
        """
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, path: str, body: Any) -> Any:  # noqa: ANN401 - JSON
        """The JSON that is answered to a body of JSON; None to an empty answer.

        Raises:
            ServerError: It does not answer, or with an error.
        """
        headers = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self.url + path, json.dumps(body).encode(), headers))

    def _ask(self, request: urllib.request.Request) -> Any:  # noqa: ANN401 - JSON
        try:
            with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                reason = f"answered {error.code} to {request.full_url}: {error.read().decode(errors='replace')}"
            raise ServerError(self._name, reason, "") from None
        except OSError as error:
            raise ServerError(self._name, f"does not answer at {request.full_url}: {error}", self.log) from None
        return json.loads(body) if body else None

    def _await_ready(self, process: subprocess.Popen[bytes], begin: int) -> None:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if process.poll() is not None:
                raise ServerError(self._name, f"ended with {process.returncode}", self.log)
            port = self._named_port(self._log.read_bytes()[begin:].decode(errors="replace"))
            if port:
                self._port = port
                if self._ready():
                    return
            time.sleep(_POLL_SECONDS)
        raise ServerError(self._name, f"was not ready after {_START_SECONDS:g} s", self.log)

    def _named_port(self, log: str) -> int:
        """The port that it says it listens on, since its start; 0 when it has not said so yet."""
        named = _LISTENING.search(log)
        return int(named[1]) if named else 0

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self._READY, timeout=_REQUEST_SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
