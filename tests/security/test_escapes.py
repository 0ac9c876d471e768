"""Names that others choose (files, commands, programs, sessions, rules, ids) can't work on a terminal."""

import dataclasses
import io
import json
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
import typer

from sidecar.cli.app import app
from sidecar.cli.hook import HookFormat
from sidecar.core.custody.files.chain import KeptChain
from sidecar.core.custody.files.manifest import Manifest, Segment
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import RowVersion
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.verdict.incident import Incident, Subject
from sidecar.notify.text import page_text
from sidecar.status import GatewayStatus, PauseStatus, Problem
from sidecar.store.chains import ChainStore
from sidecar.store.incidents import IncidentStore
from sidecar.store.printable import one_line
from sidecar.telemetry.logs.setup import configure_logging
from tests.cli.conftest import Command, cli, clock, data_dir, home, store
from tests.cli.test_status import FakeApi, api, sidecar_status
from tests.store.samples import NOON, foreign, held, keep_chain, save_incident

__all__ = ["api", "cli", "clock", "data_dir", "home", "store"]

POISON = "\x1b]0;owned\x07\x1b[2J\x9b31m\x9d\u202egpj\u2066\u200b\r\nall is well\x7f\u2028\u0085\U000e0041"
"""Sets a title, clears the screen, colours, hides and reorders text, begins a line."""

KEPT = "20260601T130000Z-0f0f0f0f"
LOST = "20260601T120000Z-0a0a0a0a"
ODD_ID = f"20260601T140000Z-{POISON}"
_REASON = Reason.of(ReasonCode.EVERY_BYTE_KNOWN, writers=(f"cron {POISON}",))


def harmless(text: str) -> bool:
    """Nothing in it moves the cursor, hides or reorders text, or begins a line that a name has brought."""
    lines = text.split("\n")
    return all(one_line(line) == line and not line.startswith("all is well") for line in lines)


def poisoned(value: Any) -> Any:  # noqa: ANN401 - any part of an incident
    """The same value with poison in each text that is free."""
    if type(value) is str:
        return value + POISON
    if isinstance(value, Reason):
        return _REASON
    if isinstance(value, tuple):
        return tuple(poisoned(item) for item in value)
    if isinstance(value, msgspec.Struct) and not isinstance(value, Fingerprint | RowVersion):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        # `did` is one of our own words, or the record can't be read.
        return type(value)(**{name: item if name == "did" else poisoned(item) for name, item in fields.items()})
    return value


def bad(incident: Incident) -> Incident:
    every: Incident = poisoned(incident)
    return replace(every, incident_id=incident.incident_id)


def commands(group: typer.Typer, ahead: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*ahead, command.name or command.callback.__name__)
    for below in group.registered_groups:
        assert below.typer_instance is not None
        yield from commands(below.typer_instance, (*ahead, str(below.name)))


@pytest.fixture
def place(home: Path, data_dir: Path, store: IncidentStore) -> Path:
    """A store, a session, a package, a policy and a recording, all with names and texts of an attacker."""
    for incident in (bad(foreign(KEPT)), bad(replace(held(), incident_id=LOST)), bad(foreign(ODD_ID))):
        save_incident(store, incident)
    sessions = home / ".openclaw" / "agents" / f"main{POISON}" / "sessions"
    sessions.mkdir(parents=True)
    file = sessions / f"s{POISON}.jsonl"
    file.write_text("{}\n")
    writer = Writer(WriterKind.CRON, POISON, 7, POISON)
    segment = Segment(0, 3, "a" * 64, writer, NOON)
    with closing(ChainStore(store)) as chains:
        kept = KeptChain(file=str(file), session="", manifest=Manifest((segment,)), since_ns=1, watched_ns=1)
        keep_chain(store, chains, kept)
    package = home / "package"
    package.mkdir()
    (package / "package.json").write_text(json.dumps({"name": "openclaw", "version": POISON}))
    (home / "policy.toml").write_text(f"[[rule]]\nname = {json.dumps(POISON)}\nkinds = [{json.dumps(POISON)}]\n")
    (home / "recording.json").write_text(json.dumps({"version": POISON, "incident": {"id": POISON}}))
    return home


def arguments(command: tuple[str, ...], place: Path) -> list[list[str]]:
    """What a command is called with. One that is new here is given nothing, and poison."""
    odd = str(place / POISON)
    session = next((place / ".openclaw").rglob("*.jsonl"))
    known: dict[str, list[list[str]]] = {
        "run": [["--state-dir", odd], ["--http", POISON], ["--policy", odd], ["--config", odd], ["--notify", POISON]],
        "hook": [
            ["--format", form.value, option, odd] for form in HookFormat for option in ("--socket", "--state-dir")
        ],
        "status": [[], ["--state-dir", odd], ["--data-dir", odd]],
        "incidents": [[], ["--session", POISON], ["--since", POISON], ["--data-dir", odd]],
        "explain": [[KEPT], [LOST], [ODD_ID], [POISON]],
        "export": [[KEPT], [KEPT, "--paths"], [ODD_ID], [POISON]],
        "replay": [[odd], [str(place / "recording.json")]],
        "custody": [[str(session)], [POISON]],
        "verify": [[str(session)], [POISON]],
        "pause": [["--for", "1h", "--reason", POISON], ["--for", POISON, "--reason", "x"]],
        "resume": [[]],
        "doctor": [["--gateway", odd], ["--gateway", str(place / "package")]],
        "write": [
            [POISON, "--", "true"],
            [odd, "--without-sidecar", "--", "true"],
            [str(session), "--name", POISON, "--", "true"],
        ],
        "demo": [["--release", POISON]],
        "hooks token": [[]],
        "api token": [[]],
        "policy check": [[str(place / "policy.toml")], [odd]],
        "policy explain": [[KEPT], [LOST], [KEPT, "--policy", str(place / "policy.toml")]],
    }
    return known.get(" ".join(command), [[], [POISON], [KEPT]])


@pytest.mark.parametrize("command", list(commands(app)), ids=" ".join)
def test_no_command_prints_what_works_on_a_terminal(
    cli: Command, place: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PATH", str(place))  # the demonstration finds no npm
    printed = ""
    for given in arguments(command, place):
        at = given.index("--") if "--" in given else len(given)
        for options in ([], ["--json"]):
            done = cli(*command, *given[:at], *options, *given[at:])
            assert harmless(done.out), (given, options)
            assert harmless(done.err), (given, options)
            printed += done.out + done.err
    assert printed


def test_the_running_sidecar_is_shown_safely(cli: Command, api: FakeApi) -> None:
    status = sidecar_status(Problem(code=POISON, what=POISON, remedy=POISON))
    gateway = GatewayStatus(pid=7, linked=True, version=POISON, adapter=POISON, reason=POISON)
    pause = PauseStatus(reason=POISON, since_ns=NOON, until_ns=NOON)
    api.says(dataclasses.replace(status, gateways=(gateway,), state_dir=POISON, pause=pause, rejected={POISON: 1}))
    for options in ((), ("--json",)):
        done = cli("status", *options)
        assert "owned" in done.out
        assert harmless(done.out)


@pytest.mark.parametrize("about", list(Subject))
@pytest.mark.parametrize("incident", [bad(foreign()), bad(held())], ids=["foreign", "held"])
def test_a_page_holds_nothing_that_works_on_a_terminal(incident: Incident, about: Subject) -> None:
    text = page_text(incident, about, f"alpha{POISON}", "1:0123456789abcdef")
    assert "owned" in text.title + text.body
    assert harmless(text.body)
    assert one_line(text.title) == text.title


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_line_of_the_log_works_on_a_terminal_or_passes_for_another(style: str) -> None:
    out = io.StringIO()
    configure_logging(style, stream=out)
    log = structlog.get_logger("sidecar")
    log.warning("rejected", detail=POISON, where=[POISON], path=Path(POISON), error=ValueError(POISON))
    logging.getLogger("uvicorn.error").error("broken %s", POISON)
    for say in (log.error, logging.getLogger("other").error):
        say("failed", exc_info=ValueError(POISON))
    told = out.getvalue()
    assert told.count("owned") >= 5
    assert harmless(told)


def test_warnings_of_the_http_server_are_not_repeated_by_each_request() -> None:
    out = io.StringIO()
    configure_logging("json", stream=out)
    for _ in range(3):
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    assert [json.loads(line)["level"] for line in out.getvalue().splitlines()] == ["warning", *["error"] * 3]
