"""The session lock as the gateway knows it. tests/compat and tests/e2e have the gateway's own code at the other end."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sidecar.cotenant.errors import LockHeldError
from sidecar.cotenant.lock import Hold, LockTimes, acquire
from sidecar.watch.identity import start_ticks

AT_ONCE = LockTimes(acquire_seconds=0.2)


def _lock_file(session_file: Path) -> Path:
    return session_file.with_name(session_file.name + ".lock")


def test_the_payload_is_the_gateways(session_file: Path) -> None:
    """Pretty-printed as JSON.stringify(payload, null, 2) does it, in the gateway's order of names."""
    hold = acquire(session_file, LockTimes(max_hold_ms=1234))
    text = hold.path.read_text()
    payload = json.loads(text)

    assert hold.path == _lock_file(session_file)
    assert text == json.dumps(payload, indent=2) + "\n"
    assert list(payload) == ["pid", "createdAt", "maxHoldMs", "starttime"]
    assert (payload["pid"], payload["maxHoldMs"]) == (os.getpid(), 1234)
    assert payload["starttime"] == start_ticks(os.getpid())
    assert payload["createdAt"].endswith("Z")
    assert len(payload["createdAt"]) == len("2026-01-01T00:00:00.000Z")


def test_releasing_removes_it(session_file: Path) -> None:
    hold = acquire(session_file, AT_ONCE)

    assert hold.is_ours()
    assert hold.release()
    assert not hold.path.exists()
    assert not hold.release()


def _rewritten(hold: Hold) -> None:
    hold.path.write_text("{}\n")


def _remade(hold: Hold) -> None:
    text = hold.path.read_text()
    aside = hold.path.with_suffix(".aside")
    aside.write_text(text)
    aside.replace(hold.path)


@pytest.mark.parametrize("change", [_rewritten, _remade])
def test_a_lock_that_is_somebody_elses_now_is_left_alone(session_file: Path, change: object) -> None:
    hold = acquire(session_file, AT_ONCE)
    change(hold)  # type: ignore[operator] # one of the parameters

    assert not hold.is_ours()
    assert not hold.release()
    assert hold.path.exists()


def test_it_is_waited_for_and_had_when_it_is_free(session_file: Path) -> None:
    first = acquire(session_file, AT_ONCE)
    released: list[bool] = []
    timer = threading.Timer(0.15, lambda: released.append(first.release()))
    timer.start()
    second = acquire(session_file, LockTimes(acquire_seconds=60))
    timer.join()

    assert released == [True]
    assert second.waited_ns > 0
    assert second.release()


def test_a_wait_is_given_up_in_time_and_names_the_holder(session_file: Path) -> None:
    acquire(session_file, AT_ONCE)
    before = _lock_file(session_file).read_bytes()
    started = time.monotonic()
    with pytest.raises(LockHeldError, match=rf"held by process {os.getpid()} \(.*python.*since 20") as caught:
        acquire(session_file, AT_ONCE)

    assert 0.2 <= time.monotonic() - started < 60
    assert "nothing was written" in str(caught.value)
    assert _lock_file(session_file).read_bytes() == before


def test_the_lock_of_a_dead_process_is_not_broken_and_the_error_says_who_will(session_file: Path) -> None:
    """From here a gateway in another container looks dead, too."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    _lock_file(session_file).write_text(json.dumps({"pid": process.pid, "createdAt": "2026-01-01T00:00:00.000Z"}))

    with pytest.raises(LockHeldError, match=r"gone or not to be seen.*the gateway removes"):
        acquire(session_file, AT_ONCE)
    assert _lock_file(session_file).exists()


def test_a_process_that_has_taken_a_dead_ones_number_is_told_apart(session_file: Path) -> None:
    payload = {"pid": os.getpid(), "createdAt": "2026-01-01T00:00:00.000Z", "starttime": 1}
    _lock_file(session_file).write_text(json.dumps(payload))

    with pytest.raises(LockHeldError, match="gone or not to be seen"):
        acquire(session_file, AT_ONCE)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"pid":"1"}x', '{"pid":-4}', '{"createdAt":"x"}', '{"pid":99999999999999}']
)
def test_a_lock_that_makes_no_sense_is_somebody_elses(session_file: Path, text: str) -> None:
    _lock_file(session_file).write_text(text)

    with pytest.raises(LockHeldError):
        acquire(session_file, AT_ONCE)
    assert _lock_file(session_file).read_text() == text


def test_a_wait_ends_when_it_is_told_to(session_file: Path) -> None:
    acquire(session_file, AT_ONCE)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        acquire(session_file, LockTimes(), interrupted)


@pytest.mark.parametrize(
    ("acquire_ms", "seconds"),
    [("", 60), ("1500", 1.5), (" 250 ", 0.25), ("0", 60), ("-5", 60), ("1.5", 60), ("soon", 60), ("9" * 30, 60)],
)
def test_times_are_read_as_the_gateway_reads_them(acquire_ms: str, seconds: float) -> None:
    environ = {"OPENCLAW_SESSION_WRITE_LOCK_ACQUIRE_TIMEOUT_MS": acquire_ms}

    assert LockTimes.of(environ) == LockTimes(acquire_seconds=seconds, max_hold_ms=300_000)


def test_a_wait_may_be_without_end_and_a_hold_may_not() -> None:
    infinite = dict.fromkeys(
        ("OPENCLAW_SESSION_WRITE_LOCK_ACQUIRE_TIMEOUT_MS", "OPENCLAW_SESSION_WRITE_LOCK_MAX_HOLD_MS"), "Infinity"
    )

    assert LockTimes.of(infinite) == LockTimes(acquire_seconds=float("inf"), max_hold_ms=300_000)
    assert LockTimes.of({"OPENCLAW_SESSION_WRITE_LOCK_MAX_HOLD_MS": "7"}).max_hold_ms == 7
