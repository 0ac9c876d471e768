"""Asks the running sidecar how it is."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from sidecar.config.runtime import Runtime, read_runtime
from sidecar.config.settings import Settings
from sidecar.config.token import TokenKind, read_token
from sidecar.store.printable import one_line

_ANSWER_SECONDS: Final = 5.0
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to reach one that listens everywhere


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking.

    Attributes:
        running: A sidecar answered.
        status: Its status as the API gives it; empty when none answered.
        problems: What an operator should mend, each with ``code``, ``what`` and ``remedy``.
    """

    running: bool
    status: dict[str, Any] = field(default_factory=dict)
    problems: tuple[dict[str, str], ...] = ()


def ask(settings: Settings) -> Answer:
    """Find the sidecar of this data directory and ask it; never raises."""
    runtime = read_runtime(settings.data_dir)
    start = f"openclaw-sidecar run --state-dir {one_line(str(settings.state_dir))}"
    if runtime is None:
        what = (
            f"no sidecar runs for the state directory {one_line(str(settings.state_dir))}"
            f" (data directory {one_line(str(settings.data_dir))})"
        )
        return _silent("not_running", what, f"start it: {start}; or name the right --state-dir")
    try:
        status = _status(runtime, settings)
    except ConnectionRefusedError:
        what = f"the sidecar that ran as process {runtime.pid} is gone without a goodbye"
        return _silent("not_running", what, f"look at its log, then start it: {start}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        what = (
            f"the sidecar (process {runtime.pid}) does not answer on {one_line(runtime.http)}: {one_line(str(error))}"
        )
        return _silent("not_answering", what, "look at its log; restart it if it hangs")
    if status.get("pid") != runtime.pid:
        what = f"another process answers on {one_line(runtime.http)}; the sidecar (process {runtime.pid}) is gone"
        return _silent("not_running", what, f"look at its log, then start it: {start}")
    return Answer(running=True, status=status, problems=tuple(status.get("problems", ())))


def _silent(code: str, what: str, remedy: str) -> Answer:
    return Answer(running=False, problems=({"code": code, "what": what, "remedy": remedy},))


def get(settings: Settings, address: str, path: str, query: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Ask the API for something.

    Args:
        settings: They say where its token is, if it has one.
        address: Host and port.
        path: Of the route.
        query: What is wanted of it.

    Returns:
        The HTTP status and the object that came with it.

    Raises:
        OSError: It can't be reached.
        http.client.HTTPException: What came is no answer.
        ValueError: Likewise; or there is a token, and it can't be used.
    """
    token = read_token(settings.api_token_file, TokenKind.API)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    # Plain HTTP to this machine: no proxy of the environment may come between.
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    connection = http.client.HTTPConnection(_EVERYWHERE.get(host, host), int(port), timeout=_ANSWER_SECONDS)
    try:
        asked = urlencode(query, errors="surrogatepass")
        connection.request("GET", f"{path}?{asked}" if asked else path, headers=headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
    finally:
        connection.close()
    if not isinstance(body, dict):
        raise http.client.HTTPException("the answer is no object")
    return answer.status, body


def _status(runtime: Runtime, settings: Settings) -> dict[str, Any]:
    code, status = get(settings, runtime.http, "/v1/status", {})
    if code != http.client.OK:
        raise http.client.HTTPException(f"HTTP {code}, {status.get('detail', '')}")
    return status
