"""What `write` says when something happened after its bytes were in the file: they are, and a person should look.

The command runs in this process, so that the moment can be chosen. The sidecar is a thread that says welcome.
"""

import contextlib
import json
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.cli import main
from sidecar.cotenant import session as rooms

NOTE = '{"type":"custom","customType":"note","data":{}}'


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Something happens right behind the last byte."""
    monkeypatch.setattr("sidecar.cli.write.become_respected", lambda: None)  # it would start pytest anew
    write = rooms._write

    def arrange(what: Callable[[], object]) -> None:
        def written(handle: int, data: bytes) -> None:
            write(handle, data)
            what()

        monkeypatch.setattr(rooms, "_write", written)

    return arrange


@pytest.fixture
def sidecar() -> Iterator[tuple[Path, Callable[[], None]]]:
    """The socket of one that takes everybody in, and how it goes away."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as place, socket.socket(socket.AF_UNIX) as listening:
        path, links = Path(place) / "s.sock", list[socket.socket]()
        listening.bind(str(path))
        listening.listen()

        def welcome() -> None:
            with contextlib.suppress(OSError):  # the end of the test
                while True:
                    link, _ = listening.accept()
                    links.append(link)
                    link.recv(1 << 16)
                    link.sendall(b'{"t":"welcome","protocol":1,"sidecar":"x","mode":"recover"}\n')

        def go() -> None:
            for link in links:
                with contextlib.suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
                link.close()
            links.clear()

        thread = threading.Thread(target=welcome, daemon=True)
        thread.start()
        yield path, go
        listening.shutdown(socket.SHUT_RDWR)
        go()
        thread.join()


def _run(state_dir: Path, *options: str) -> int:
    return main(["write", "abc", "--state-dir", str(state_dir), "--json", *options, "--", "printf", "%s\\n", NOTE])


def test_a_lock_that_was_taken_away_after_the_write_is_a_finding_and_the_bytes_are_there(
    state_dir: Path,
    session_file: Path,
    then: Callable[[Callable[[], object]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    then(session_file.with_name("abc.jsonl.lock").unlink)
    code, said = _run(state_dir, "--without-sidecar"), capsys.readouterr()
    report = json.loads(said.out)

    assert (code, report["lock_kept"]) == (1, False)
    assert "was taken away while it was held here" in said.err
    assert json.loads(session_file.read_text().splitlines()[-1])["id"] == report["records"][0]


def test_a_sidecar_that_goes_after_the_write_is_a_finding_and_the_bytes_are_there(
    state_dir: Path,
    session_file: Path,
    then: Callable[[Callable[[], object]], None],
    sidecar: tuple[Path, Callable[[], None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, go = sidecar
    then(go)
    code, said = _run(state_dir, "--socket", str(path)), capsys.readouterr()
    report = json.loads(said.out)

    assert (code, report["announced"], report["lock_kept"]) == (1, False, True)
    assert "the sidecar went away meanwhile" in said.err
    assert json.loads(session_file.read_text().splitlines()[-1])["id"] == report["records"][0]


def test_the_help_says_that_exit_code_1_is_also_of_what_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    main(["write", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())

    assert "nothing is written then, unless standard error says otherwise" in said
    assert "Exit code 1 also when it was written" in said
