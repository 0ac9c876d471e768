"""A process of its own that writes as `openclaw-sidecar write` does: one order for each line of JSON on standard input.

It is the code of the command, behind its command line, so that the interpreter is started once and not for each cell.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from sidecar.cotenant.errors import SessionFileError
from sidecar.cotenant.lock import LockTimes
from sidecar.cotenant.owner import is_respected
from sidecar.cotenant.write import Order, append_output, edit_session

EDIT: Final = Path(__file__).with_name("harness") / "edit.mjs"


def obey(message: dict[str, Any]) -> dict[str, Any]:
    """Make one change, as a co-tenant of the name ``backup``."""
    operation, editing = message["operation"], message["editing"]
    delay = [str(message["delayMs"])] if message["delayMs"] else []
    order = Order(
        session_file=Path(message["file"]),
        name="backup",
        command=[os.environ["COMPAT_NODE"], str(EDIT), operation, *delay],
        socket=Path(os.environ["OPENCLAW_SIDECAR_SOCKET"]),
        state_dir=Path(os.environ["OPENCLAW_STATE_DIR"]),
        environ=os.environ,
        times=LockTimes(acquire_seconds=20),
        announced=os.environ["COMPAT_ANNOUNCED"] == "1",
    )
    # What touches no byte, and what deletes, is done to the session itself by a COMMAND that prints nothing.
    try:
        written = edit_session(order) if editing else append_output(order)
    except SessionFileError:
        if operation != "remove":
            raise
        return {"records": []}
    if not written.lock_kept:
        return {"error": "the gateway took the lock away"}
    return {"records": list(written.records)}


def main() -> None:
    """Obey until standard input ends."""
    tempfile.tempdir = os.environ["HOME"]
    if not is_respected():
        raise SystemExit("started without the word that gateways look for")
    for line in sys.stdin:
        try:
            answer = obey(json.loads(line))
        except Exception as error:  # noqa: BLE001 - told to the bench, which ends the test
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
