"""Write the dashboards' JSON, or with ``--check`` say which files differ from it."""

import sys
from pathlib import Path
from typing import Final

from dashboards.one_session import ONE_SESSION
from dashboards.render import render
from dashboards.sessions import SESSIONS
from dashboards.sidecar_health import SIDECAR_HEALTH

HERE: Final = Path(__file__).parent
BOARDS: Final = (SESSIONS, ONE_SESSION, SIDECAR_HEALTH)


def files() -> dict[Path, str]:
    """What each file must hold."""
    return {HERE / f"{board.uid}.json": render(board) for board in BOARDS}


def drifted() -> list[Path]:
    """The files that hold something else, or are not there."""
    return [path for path, text in files().items() if not path.is_file() or path.read_text("utf-8") != text]


def main(arguments: list[str]) -> int:
    """Write or check; 1 when a check finds something."""
    if arguments == ["--check"]:
        found = drifted()
        for path in found:
            sys.stderr.write(f"{path.name} is not what dashboards/*.py say: run make dashboards\n")
        return 1 if found else 0
    for path, text in files().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
