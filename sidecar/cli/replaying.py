"""`export` and `replay`: incidents without names or text, judged again on any machine."""

from pathlib import Path
from typing import Any

from sidecar.cli.output import print_line, print_note, print_rows
from sidecar.core.replay.recording import NotRecordedError
from sidecar.core.replay.replay import Difference, compare, replay
from sidecar.store.recordings import ExportError, imported


def replay_file(path: Path) -> dict[str, Any]:
    """Replay an exported incident.

    Returns:
        ``same``, the ``verdict`` as it comes out now, and the ``differences``.

    Raises:
        ExportError: The file can't be read, or is none.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ExportError(str(path), error.strerror or str(error)) from error
    expected, recording = imported(str(path), text)
    try:
        incident = replay(recording)
    except NotRecordedError as error:
        found, verdict = [Difference("digests", "those that were asked for then", str(error))], None
    else:
        found, verdict = compare(expected, incident), None if incident is None else incident.verdict.value
    return {
        "same": not found,
        "verdict": verdict,
        "differences": [{"name": d.name, "recorded": d.recorded, "replayed": d.replayed} for d in found],
    }


def print_replay(body: dict[str, Any]) -> None:
    """Print whether the verdict is the same, and what is not."""
    if body["same"]:
        print_line(f"Same: {body['verdict']}, and all that followed from it.", style="green")
        return
    print_line("It comes out otherwise:", style="bold red")
    print_rows([("", "RECORDED", "NOW"), *(_row(item) for item in body["differences"])])


def say_why_not(body: dict[str, Any]) -> None:
    """Say on standard error that an export can't be replayed."""
    if not body["replays"]:
        print_note(f"openclaw-sidecar: this export can't be replayed: {body['why_not']}")


def _row(item: dict[str, Any]) -> tuple[str, str, str]:
    return (item["name"], str(item["recorded"]), str(item["replayed"]))
