import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer

from sidecar import __version__
from sidecar.cli.app import app
from sidecar.config.settings import Settings
from sidecar.core.policy.policy import Mode
from tests.cli.conftest import Command


def test_the_version_is_told(cli: Command) -> None:
    assert cli("--version").out == f"openclaw-sidecar {__version__}\n"


@pytest.mark.parametrize("command", ["", "run", "hook", "status", "incidents", "explain", "demo"])
def test_every_command_explains_itself(cli: Command, command: str) -> None:
    result = cli(*command.split(), "--help")
    assert (result.code, result.err) == (0, "")
    assert "Usage: openclaw-sidecar" in result.out


def _commands(group: typer.Typer, ahead: str = "") -> Iterator[str]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{ahead}{command.name or command.callback.__name__}"
    for below in group.registered_groups:
        assert below.typer_instance is not None
        yield from _commands(below.typer_instance, f"{ahead}{below.name} ")


@pytest.mark.parametrize("command", sorted(set(_commands(app)) - {"run"}))
def test_every_command_that_prints_data_takes_json(cli: Command, command: str) -> None:
    """`run` prints none: its log has a format of its own."""
    result = cli(*command.split(), "--help")
    assert result.code == 0
    assert "--json" in result.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "Missing command"),
        ("nosuch", "No such command 'nosuch'"),
        ("run --nosuch", "No such option"),
        ("run --http", "requires an argument"),
        ("run --http 9464", "--http: '9464' is not HOST:PORT"),
        ("run extra", "unexpected extra argument"),
        ("hook --format xml", "'xml' is not one of"),
        ("incidents --verdict foreign", "'foreign' is not one of"),
        ("incidents --limit 0", "--limit"),
        ("incidents --limit x", "--limit"),
        ("incidents --since yesterday", "'yesterday' is no time"),
        ("explain", "Missing argument"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(cli: Command, arguments: str, said: str) -> None:
    result = cli(*arguments.split())
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("openclaw-sidecar: ")
    assert result.err.count("\n") == 1
    assert said in result.err


def test_a_bad_configuration_file_is_one_line_and_exit_code_3(cli: Command, home: Path) -> None:
    (home / "c.toml").write_text('observe = "yes"\n')
    result = cli("run", "--config", str(home / "c.toml"))
    assert result.code == 3
    assert result.err == (
        f"openclaw-sidecar: config {home}/c.toml, line 1, observe: has to be true or false, not a string\n"
    )


@pytest.mark.parametrize("command", ["run", "status", "incidents", "hook", "explain x"])
def test_a_bad_variable_stops_every_command_that_reads_it(
    cli: Command, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("OPENCLAW_SIDECAR_HTTP", "nonsense")
    result = cli(*command.split())
    assert result.code == 3
    assert result.err.startswith("openclaw-sidecar: OPENCLAW_SIDECAR_HTTP: ")


def test_run_hands_its_settings_to_the_service(cli: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Settings] = []
    service = ModuleType("sidecar.service")

    def run(settings: Settings) -> int:
        given.append(settings)
        return 3

    service.run = run  # type: ignore[attr-defined] # a stand-in
    monkeypatch.setitem(sys.modules, "sidecar.service", service)
    result = cli(
        *("run", "--state-dir", "~/.openclaw", "--data-dir", "/d", "--socket", "/s", "--http", "[::1]:0", "--observe"),
        *("--notify", "json://a", "--notify", "json://b"),
    )
    assert result.code == 3
    [settings] = given
    assert str(settings.state_dir) == f"{home}/.openclaw"
    assert (str(settings.data_dir), str(settings.socket)) == ("/d", "/s")
    assert (settings.http_host, settings.http_port) == ("::1", 0)
    assert settings.mode is Mode.OBSERVE
    assert settings.notify == ("json://a", "json://b")


def test_demo_hands_its_flags_over(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str | None, bool, bool]] = []
    module = ModuleType("sidecar.demo.main")

    def run_demo(release: str | None, *, once: bool, as_json: bool) -> int:
        given.append((release, once, as_json))
        return 0

    module.run_demo = run_demo  # type: ignore[attr-defined] # a stand-in
    monkeypatch.setitem(sys.modules, "sidecar.demo.main", module)
    assert cli("demo", "--once", "--json").code == 0
    assert cli("demo", "--release", "2026.9.6").code == 0
    assert given == [(None, True, True), ("2026.9.6", False, False)]


def test_ctrl_c_ends_a_command_without_a_traceback(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sidecar.demo.main")

    def run_demo(release: str | None, *, once: bool, as_json: bool) -> int:
        raise KeyboardInterrupt

    module.run_demo = run_demo  # type: ignore[attr-defined] # a stand-in
    monkeypatch.setitem(sys.modules, "sidecar.demo.main", module)
    assert cli("demo").code == 130


def test_a_reader_that_has_seen_enough_is_no_error(home: Path) -> None:
    shell = f"{sys.executable} -c 'import sys; from sidecar.cli import main; sys.exit(main())' hook | true"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
