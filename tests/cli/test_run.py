"""The command `run` with the whole service behind it."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cli.conftest import Command
from tests.kernel import require_kernel_evidence, without_admin

ANY_PORTS = ("--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
PROGRAM = [sys.executable, "-c", "import sys; from sidecar.cli import main; sys.exit(main())"]


@contextmanager
def running(*arguments: str, under: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """A sidecar that has said that it is ready; killed at the end if it still runs."""
    with subprocess.Popen([*under, *PROGRAM, "run", *arguments], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if '"ready"' in line:
                    break
            assert process.poll() is None, "".join(said)
            yield process
        finally:
            process.kill()
            process.stderr.read()  # type: ignore[union-attr] # it is a pipe


def start_fails(*arguments: str) -> str:
    done = subprocess.run([*PROGRAM, "run", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_sidecar_runs_is_asked_and_ends_in_order(cli: Command, home: Path, data_dir: Path) -> None:
    (home / ".openclaw" / "agents" / "main" / "sessions").mkdir(parents=True)
    with running(*ANY_PORTS, "--observe") as process:
        body = cli("status", "--json").json()
        assert body["running"] is True
        assert body["pid"] == process.pid
        assert body["mode"] == "observe"
        assert body["problems"] == []
        assert cli("status").code == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert cli("status").code == 1
    assert not (data_dir / "runtime.json").exists()


def test_a_sidecar_that_was_killed_is_seen_to_be_gone(cli: Command, home: Path, data_dir: Path) -> None:
    with running(*ANY_PORTS) as process:
        process.kill()
        process.wait(30)
    result = cli("status")
    assert result.code == 1
    assert "gone without a goodbye" in result.err
    with running(*ANY_PORTS) as process:
        assert cli("status", "--json").json()["pid"] == process.pid


def test_a_second_sidecar_on_the_same_store_does_not_start(home: Path, data_dir: Path) -> None:
    with running(*ANY_PORTS):
        said = start_fails(*ANY_PORTS, "--socket", str(home / "other.sock"))
    assert "is in use by another sidecar" in said


def test_a_port_in_use_is_a_failed_start(home: Path, data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = start_fails("--http", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "is in use by another process" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = start_fails("--http", "127.0.0.1:0", "--metrics", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "give another --metrics HOST:PORT" in said


def test_an_api_beyond_loopback_without_a_token_is_a_failed_start(cli: Command, home: Path, data_dir: Path) -> None:
    ports = ("--http", "0.0.0.0:0", "--metrics", "127.0.0.1:0")
    assert "`openclaw-sidecar api token` makes the token" in start_fails(*ports)
    assert cli("api", "token").out == (data_dir / "api.token").read_text()
    (home / ".openclaw" / "agents" / "main" / "sessions").mkdir(parents=True)
    with running(*ports):
        assert cli("status", "--json").json()["problems"] == []
        assert cli("custody", "nothing").err.endswith("no session is known by the name nothing\n")


def test_a_sidecar_does_not_load_what_only_commands_print_with() -> None:
    code = "import sidecar.cli, sidecar.service, sys; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_state_directory_that_is_not_there_is_a_failed_start(home: Path, data_dir: Path) -> None:
    said = start_fails("--state-dir", str(home / "nowhere"))
    assert "there is no such directory" in said
    assert not data_dir.exists()


def test_a_notification_url_that_is_none_is_a_failed_start_that_keeps_its_secret(home: Path, data_dir: Path) -> None:
    said = start_fails(*ANY_PORTS, "--notify", "slack://hunter2")
    assert "notification URL 1 (slack)" in said
    assert "hunter2" not in said


def test_a_socket_path_that_is_too_long_is_a_failed_start(home: Path, data_dir: Path) -> None:
    assert "the kernel takes 107" in start_fails("--socket", str(home / ("x" * 120)))
    assert list((home / ".openclaw").iterdir()) == []


def test_kernel_evidence_is_proven_at_the_start_and_shown(
    cli: Command, home: Path, data_dir: Path, tmp_path: Path
) -> None:
    sessions = home / ".openclaw" / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    require_kernel_evidence(tmp_path)
    with running(*ANY_PORTS, "--who", "kernel"):
        kernel = cli("status", "--json").json()["kernel"]
        assert (kernel["wanted"], kernel["on"], kernel["directories"], kernel["reason"]) == (True, True, 1, "")
        (sessions / "a.jsonl").write_text("{}\n")
        assert cli("status", "--json").json()["kernel"]["events"] > 0
        while not cli("status", "--json").json()["kernel"]["settled"]:
            assert "proven by a canary" in cli("status").out
        assert "proven by a canary; 1 directories" in cli("status").out
    assert [p.name for p in data_dir.iterdir() if p.name.startswith(".canary")] == []


def test_without_the_capability_the_sidecar_says_so_once_and_goes_on(cli: Command, home: Path, data_dir: Path) -> None:
    (home / ".openclaw" / "agents" / "main" / "sessions").mkdir(parents=True)
    with running(*ANY_PORTS, "--who", "kernel", under=without_admin()) as process:
        body = cli("status", "--json").json()
        assert (body["kernel"]["wanted"], body["kernel"]["on"]) == (True, False)
        assert "CAP_SYS_ADMIN" in body["kernel"]["reason"]
        assert [p["code"] for p in body["problems"]] == ["no_kernel_evidence"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_source_of_evidence_that_is_none_is_bad_usage(home: Path, data_dir: Path) -> None:
    done = subprocess.run([*PROGRAM, "run", "--who", "oracle"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "'oracle' is none of reports, kernel" in done.stderr
