"""An adapter is in force once its self-check has passed; until then, and when it fails, the bundle decides."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Final

import pytest
from inotify_simple import INotify, flags

from sidecar.preload import preload_path
from tests.preload.conftest import Start
from tests.preload.kit import BOUND_MS, MODELS, PATIENCE_SECONDS, Gateway, Sidecar, approving, clean_environment

RELEASE: Final = "async releaseForPrompt() {"
SLOW: Final = "await new Promise((later) => setTimeout(later, 300));"
MODEL_NAMES: Final = ("swap", "publish")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A directory for the temporary files of a process."""
    made = tmp_path / "tmp"
    made.mkdir()
    return made


def _adapters(sidecar: Sidecar) -> list[str]:
    return [message["adapter"] for message in sidecar.said("adapter")]


def _edited(directory: Path, model: str, old: str, new: str) -> str:
    """A model of the gateway with other code under the same names, where the first gateway of a test finds it."""
    source = (MODELS / f"{model}.mjs").read_text()
    assert old in source
    (directory / "0" / "dist").mkdir(parents=True)
    (directory / "0" / "dist" / "edited.mjs").write_text(source.replace(old, new))
    return "edited"


def _is_wrapped(gateway: Gateway) -> bool:
    return bool(gateway.do("return String(bundle.createEmbeddedAttemptSessionLockController).includes('fences')"))


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_an_adapter_is_pending_until_it_is_checked(start: Start, sidecar: Sidecar, model: str) -> None:
    gateway = start(model=model)
    sidecar.wait_for_adapter(model)
    assert _is_wrapped(gateway)
    assert _adapters(sidecar)[-1] == model
    assert set(_adapters(sidecar)) <= {"pending", model}
    assert gateway.end() == "", "something was written to stderr"


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_a_check_leaves_nothing_behind_and_tells_nothing_of_itself(
    start: Start, sidecar: Sidecar, temporary: Path, model: str
) -> None:
    gateway = start(model=model, TMPDIR=str(temporary))
    sidecar.wait_for_adapter(model)
    sidecar.sync()
    assert list(temporary.iterdir()) == []
    assert {message["t"] for message in sidecar.told} <= {"hello", "adapter", "synced"}
    assert gateway.do("return 1") == 1


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_a_controller_that_behaves_otherwise_gets_its_functions_back(
    start: Start, sidecar: Sidecar, tmp_path: Path, model: str
) -> None:
    gateway = start(model=_edited(tmp_path, model, RELEASE, f"{RELEASE} throw new Error('not today');"))
    told = sidecar.wait_for_adapter("unknown")
    assert told["reason"] == f"the adapter {model} failed its self-check: stock: not today"
    assert not told["reload"]
    assert not _is_wrapped(gateway)
    assert gateway.end() == ""


def test_without_the_adapter_an_approval_changes_nothing(start: Start, sidecar: Sidecar, tmp_path: Path) -> None:
    """A method that only the check calls is broken: runs go on as they do without the preload."""
    broken = "async acquireForCleanup() { return {};"
    gateway = start(model=_edited(tmp_path, "swap", "async acquireForCleanup() {", broken))
    sidecar.wait_for_adapter("unknown")
    sidecar.answer = approving
    gateway.do("await startRun()")
    gateway.do("await coTenant()")
    assert gateway.do("return await endRun()")["outcome"] == "takeover"
    assert sidecar.said("ask") == sidecar.said("applied") == []


def test_what_hangs_is_given_up(start: Start, sidecar: Sidecar, tmp_path: Path) -> None:
    gateway = start(model=_edited(tmp_path, "swap", RELEASE, f"{RELEASE} await new Promise(() => {{}});"))
    assert gateway.do("return 1") == 1, "the gateway waits for the check"
    told = sidecar.wait_for_adapter("unknown")
    assert told["reason"].endswith("no end after 5 s")


def test_a_question_does_not_get_its_answer_before_the_check_has_passed(
    start: Start, sidecar: Sidecar, tmp_path: Path
) -> None:
    """A check of more than a second, and a run in its first moments: the run is as stock."""
    sidecar.answer = approving
    slow = f"{RELEASE} if (file.startsWith('/proc/self/fd/')) {SLOW}"
    gateway = start(model=_edited(tmp_path, "swap", RELEASE, slow))
    gateway.wait_at_most(BOUND_MS)
    gateway.do("await startRun()")
    gateway.do("await coTenant()")
    ended = gateway.do("return await endRun()")
    assert ended["outcome"] == "takeover"
    assert "swap" not in _adapters(sidecar)
    assert sidecar.said("ask") == sidecar.said("applied") == []
    assert sidecar.wait_for_adapter("swap")["reason"] == ""


ENDS: Final = {"exit": "process.exit(0)", "SIGTERM": "", "SIGKILL": ""}


@pytest.mark.parametrize("end", ENDS)
def test_a_program_that_ends_in_the_middle_of_the_check_leaves_nothing_behind(
    node: Path, tmp_path: Path, temporary: Path, end: str
) -> None:
    """A command that is done, a gateway that is stopped while it starts, one that is killed."""
    bundle = tmp_path / "dist" / "edited.mjs"
    bundle.parent.mkdir()
    for part in MODELS.glob("*.mjs"):
        (bundle.parent / part.name).write_text(part.read_text())
    middle = f"console.log(file); {ENDS[end]}; await new Promise((later) => setTimeout(later, 60_000));"
    bundle.write_text((MODELS / "swap.mjs").read_text().replace(RELEASE, f"{RELEASE} {middle}"))
    environment = clean_environment(TMPDIR=str(temporary), OPENCLAW_SIDECAR_SOCKET=str(tmp_path / "none.sock"))
    with subprocess.Popen(
        [node, f"--import={preload_path().as_uri()}", "--input-type=module", "--eval", f"import {bundle.as_uri()!r}"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline().strip(), "the check was not begun"
        if end != "exit":
            program.send_signal(signal.Signals[end])
        ended = program.wait(PATIENCE_SECONDS)

    assert ended == (0 if end == "exit" else -signal.Signals[end])
    assert list(temporary.iterdir()) == []


def test_a_check_leaves_no_file_open(start: Start, sidecar: Sidecar, temporary: Path) -> None:
    gateway = start(TMPDIR=str(temporary))
    sidecar.wait_for_adapter("swap")
    opened = [str(fd.readlink()) for fd in Path(f"/proc/{gateway.process.pid}/fd").iterdir()]
    assert opened
    assert [name for name in opened if name.startswith(str(temporary))] == []


def test_the_files_of_a_check_never_have_a_name(start: Start, sidecar: Sidecar, temporary: Path) -> None:
    """Between making a file and taking its name away, a process can be killed too."""
    try:
        os.close(os.open(temporary, os.O_TMPFILE | os.O_RDWR))
    except OSError as error:
        pytest.skip(f"this file system has no files without a name: {error}")
    with INotify() as names:
        names.add_watch(temporary, flags.CREATE)
        start(TMPDIR=str(temporary))
        sidecar.wait_for_adapter("swap")
        assert names.read(timeout=0) == []
