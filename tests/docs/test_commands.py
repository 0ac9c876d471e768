"""Every command that README and docs show is run as it stands there, but for placeholders and addresses."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path

import pytest

from sidecar.core.custody.files.chain import KeptChain
from sidecar.core.custody.files.manifest import Manifest, Segment
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Gateway, Run
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.verdict.incident import Incident, incident_id
from sidecar.core.verdict.judge import Verdict
from sidecar.demo.packages import default_cache_dir, ensure_gateway
from sidecar.store.chains import ChainStore
from sidecar.store.incidents import DATABASE_NAME, IncidentStore
from tests.store.samples import keep_chain, save_incident

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TOOL = Path(sys.executable).with_name("openclaw-sidecar")


def _commands(first_word: str) -> Iterator[str]:
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                command = line.split("  #")[0].strip()
                if command.startswith(first_word + " "):
                    yield command


def test_there_are_commands_to_run() -> None:
    assert len(set(_commands("openclaw-sidecar"))) >= 5
    assert {"make demo", "make test"} <= set(_commands("make"))


@pytest.mark.parametrize("command", sorted(set(_commands("make"))))
def test_a_shown_make_target_exists(command: str) -> None:
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A HOME with a state directory and one incident in the default store."""
    state_dir = tmp_path / ".openclaw"
    (state_dir / "agents" / "main" / "sessions").mkdir(parents=True)
    (tmp_path / "policy.toml").write_bytes((ROOT / "docs" / "policy.example.toml").read_bytes())
    data_dir = tmp_path / "data"
    store = IncidentStore(data_dir / DATABASE_NAME, time.time_ns)
    save_incident(store, _incident())
    file = state_dir / "agents" / "main" / "sessions" / "0a1b.jsonl"
    file.write_bytes(b"{}\n")
    segment = Segment(0, 3, sha256(b"{}\n").hexdigest(), Writer(WriterKind.CRON, "digest"), 1)
    chains = ChainStore(store)
    chain = KeptChain(file=str(file), session="", manifest=Manifest((segment,)), since_ns=1, watched_ns=1)
    keep_chain(store, chains, chain)
    chains.close()
    store.close()
    return tmp_path


def _incident() -> Incident:
    return Incident(
        incident_id=incident_id(0, "w", "f"),
        session_file="f",
        opened_at_ns=time.time_ns(),
        closed_at_ns=time.time_ns(),
        verdict=Verdict.CO_TENANT,
        grade=Grade.BYTES,
        reason=Reason.of(ReasonCode.EVERY_BYTE_KNOWN, writers=("inject cron",)),
        fence=Fingerprint.absent(),
        current=Fingerprint.absent(),
        run=Run(),
        gateway=Gateway(link="", pid=0),
    )


@pytest.mark.timeout(300, func_only=True)  # the first one may have to fetch a gateway
@pytest.mark.parametrize("command", sorted(set(_commands("openclaw-sidecar"))))
def test_a_shown_command_runs(command: str, place: Path) -> None:
    words = shlex.split(
        command.replace("ID", incident_id(0, "w", "f"))
        .replace("~/.openclaw", str(place / ".openclaw"))
        .replace("tests/", f"{ROOT}/tests/")
    )
    arguments = ["json://127.0.0.1:9/" if word.startswith("slack:") else word for word in words[1:]]
    path = os.environ["PATH"]
    if arguments[0] == "doctor":
        # The one from npm, with the Node that came with it.
        package = ensure_gateway("2026.5.18", default_cache_dir(), lambda _line: None)
        arguments[-1] = str(package.cli.parent)
        path = f"{package.executables}:{path}"
    if arguments[0] == "write":
        _session(place)
    env = {
        "PATH": path,
        "HOME": str(place),
        "OPENCLAW_SIDECAR_DATA_DIR": str(place / "data"),
        "OPENCLAW_SIDECAR_HTTP": "127.0.0.1:0",
    }
    if arguments[0] == "write":
        env["OPENCLAW_SIDECAR_POLICY"] = str(place / "policy.toml")
        for making in (["hooks", "token"], ["policy", "allow", "backup", "--write"]):
            _run(making, env, place)
    with _sidecar(env, place) if arguments[0] == "write" else nullcontext():
        _run(arguments, env, place)


def _session(place: Path) -> None:
    """One whose key is the one that the pages show."""
    directory = place / ".openclaw" / "agents" / "main" / "sessions"
    (directory / "0a1b.jsonl").write_text('{"type":"session","version":3,"id":"0a1b"}\n')
    (directory / "sessions.json").write_text('{"agent:main:main":{"sessionId":"0a1b"}}')


@contextmanager
def _sidecar(env: dict[str, str], place: Path) -> Iterator[None]:
    """A running one."""
    with subprocess.Popen([TOOL, "run"], env=env, cwd=place, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if '"event": "ready"' in line:
                break
        yield
        process.terminate()
        process.stderr.read()


def _run(arguments: list[str], env: dict[str, str], place: Path) -> None:
    process = subprocess.Popen(
        [TOOL, *arguments], env=env, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        if arguments[0] == "run":
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if '"event": "ready"' in line:
                    process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0, "".join(lines)
        else:
            output, _ = process.communicate(timeout=30)
            # Nothing runs here, which is a finding of its own for `status`.
            assert process.returncode == (1 if arguments[0] == "status" else 0), output


@pytest.mark.parametrize("script", sorted((ROOT / "docs" / "examples").glob("*.sh")), ids=lambda path: path.name)
def test_a_shown_script_is_the_one_that_is_tested(script: Path) -> None:
    """tests/e2e runs the files."""
    shown = f"<!-- docs/examples/{script.name} -->\n```bash\n{script.read_text(encoding='utf-8')}```\n"

    assert any(shown in page.read_text(encoding="utf-8") for page in PAGES)
