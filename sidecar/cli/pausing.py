"""Pausing and resuming recovery, with the sidecar running or not."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from sidecar.cli.asking import ask
from sidecar.cli.output import print_json, print_line, print_note
from sidecar.config.pause import remove_pause, write_pause
from sidecar.config.policyfile import DURATION
from sidecar.config.settings import Settings
from sidecar.core.errors import SidecarError
from sidecar.core.policy.blocked import Pause
from sidecar.core.policy.budget import MAX_PERIOD_NS
from sidecar.store.printable import one_line
from sidecar.store.public import iso_utc
from sidecar.store.since import duration_ns

_WAIT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05


class PauseUsageError(SidecarError, ValueError):
    """The command was given no length of time, or no reason."""


def pause(settings: Settings, length: str, reason: str, *, as_json: bool) -> int:
    """Ask for a pause, and wait until the running sidecar has taken it.

    Returns:
        The exit code: 1 when a sidecar runs and does not take it.

    Raises:
        PauseUsageError: The length is none, or too long, or there is no reason.
        PauseFileError: It cannot be written.
    """
    if not re.fullmatch(DURATION, length, re.ASCII) or duration_ns(length) > MAX_PERIOD_NS:
        message = f"--for: {one_line(length[:40])!r} is no length of time; give one such as 30m, 2h or 1d, at most 31d"
        raise PauseUsageError(message)
    if not reason.strip():
        raise PauseUsageError("--reason: is empty; say why, for those who find the sidecar paused")
    now_ns = time.time_ns()
    wanted = Pause(reason.strip(), now_ns, now_ns + duration_ns(length))
    write_pause(settings.data_dir, wanted)

    def taken(status: Mapping[str, Any]) -> bool:
        return bool((status.get("pause") or {}).get("until_ns") == wanted.until_ns)

    until = iso_utc(wanted.until_ns)
    return _report(settings, taken, f"recovery is paused until {until}", {"paused_until": until}, as_json=as_json)


def resume(settings: Settings, *, as_json: bool) -> int:
    """End a pause, and wait until the running sidecar has taken that.

    Returns:
        The exit code, as for `pause`.
    """
    there_was_one = remove_pause(settings.data_dir)
    said = "the pause is over" if there_was_one else "there was no pause"
    return _report(settings, lambda status: not status.get("pause"), said, {"paused_until": None}, as_json=as_json)


def _report(
    settings: Settings, taken: Callable[[Mapping[str, Any]], bool], said: str, body: dict[str, Any], *, as_json: bool
) -> int:
    running, in_force = _await(settings, taken)
    if as_json:
        print_json(body | {"running": running, "in_force": in_force})
    else:
        print_line(said)
    if not running:
        print_note("openclaw-sidecar: no sidecar runs here now; this holds for the next one that starts")
    elif not in_force:
        print_note("openclaw-sidecar: the running sidecar has not taken this yet; see `openclaw-sidecar status`")
    return 1 if running and not in_force else 0


def _await(settings: Settings, taken: Callable[[Mapping[str, Any]], bool]) -> tuple[bool, bool]:
    """Whether a sidecar runs, and whether it has taken the change."""
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        answer = ask(settings)
        if not answer.running:
            return False, False
        if taken(answer.status):
            return True, True
        if time.monotonic() > until:
            return True, False
        time.sleep(_POLL_SECONDS)
