"""The socket: who owns it, who may connect, what is found in its place."""

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from sidecar.identity.peer import Peer
from sidecar.link.errors import SocketBlockedError, SocketError, SocketTakenError
from sidecar.link.open_links import OpenLinks
from sidecar.link.server import LinkServer
from sidecar.wire import messages as wire
from tests.link.kit import Believing, Closed, Recorder, Rejected, serving

ROOT: Final = Path(__file__).parents[2]
UNSHARE: Final = ("unshare", "--pid", "--fork", "--kill-child")
NOBODY: Final = "65534"
Process = subprocess.Popen[str]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user or namespace")

SAY_HELLO: Final = textwrap.dedent(
    """
    import os, socket, sys
    if sys.argv[3]:
        os.setuid(int(sys.argv[3]))
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(sys.argv[1])
        print("connected", flush=True)
        pid = os.getpid() if sys.argv[2] == "own" else int(sys.argv[2])
        link.sendall(b'{"t":"hello","seq":1,"at":"0","protocol":1,"pid":%d}\\n' % pid)
        answers = link.makefile()
        answers.readline()  # the challenge
        print(answers.readline().strip(), flush=True)
        sys.stdin.read()
    """
)


def say_hello(path: Path, announced: str = "own", *, user: str = "", prefix: Sequence[str] = ()) -> Process:
    """Another process that connects, calls itself by a pid and prints the answer."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", SAY_HELLO, str(path), announced, user],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def may_make_namespaces() -> bool:
    """Whether a process can be started in a namespace of its own."""
    found = shutil.which("unshare")
    return found is not None and subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


async def end(process: Process) -> tuple[list[str], str]:
    """Let the process end; what it wrote to stdout and stderr."""
    output, errors = await asyncio.to_thread(process.communicate, timeout=20)
    return output.splitlines(), errors


def stale_socket(path: Path) -> None:
    """What a sidecar that was killed leaves behind."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


def put(what: str, path: Path) -> None:
    """Put something in the socket's place."""
    other = path.with_name("other")
    match what:
        case "nothing":
            path.unlink()
        case "a file":
            path.write_text("precious")
        case "a directory":
            path.mkdir()
        case "a link to a file":
            other.write_text("precious")
            path.symlink_to(other)
        case "a link to a socket":
            stale_socket(other)
            path.symlink_to(other)
        case "a FIFO":
            os.mkfifo(path)


def look(path: Path) -> dict[str, tuple[int, int, int]]:
    """What lies in the socket's directory: kind and mode, inode, size."""
    return {p.name: ((s := p.lstat()).st_mode, s.st_ino, s.st_size) for p in path.parent.iterdir()}


async def test_the_socket_is_for_its_owner_alone(path: Path) -> None:
    async with serving(path):
        assert look(path)[path.name][0] == stat.S_IFSOCK | 0o600


async def test_opening_the_socket_leaves_the_umask_as_it_was(path: Path) -> None:
    before = os.umask(0o027)
    try:
        async with serving(path):
            assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


async def test_a_stopped_server_leaves_nothing_behind(path: Path) -> None:
    async with serving(path) as stage:
        client = await stage.greeted()
        await stage.server.stop()
        assert look(path) == {}
        assert await client.hear() is None
        assert await stage.recorder.next() == Closed(clean=False)


async def test_a_stale_socket_is_taken_over(path: Path) -> None:
    stale_socket(path)
    async with serving(path) as stage:
        await stage.greeted()


async def test_a_socket_on_which_a_sidecar_answers_is_left_to_it(path: Path) -> None:
    async with serving(path) as stage:
        with pytest.raises(SocketTakenError) as raised:
            await LinkServer(path, Recorder(), Believing(), OpenLinks(), version="2", mode="recover").start()
        assert str(path) in str(raised.value)
        assert "--socket" in str(raised.value)
        await stage.greeted()


async def test_a_sidecar_too_busy_to_accept_is_a_live_one(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(path))  # fills the queue
            with pytest.raises(SocketTakenError):
                await LinkServer(path, Recorder(), Believing(), OpenLinks(), version="2", mode="recover").start()
    assert path.name in look(path)


@pytest.mark.parametrize("what", ["a file", "a directory", "a link to a file", "a link to a socket", "a FIFO"])
async def test_what_is_no_socket_blocks_and_stays_untouched(path: Path, what: str) -> None:
    put(what, path)
    before = look(path)
    with pytest.raises(SocketBlockedError) as raised:
        await LinkServer(path, Recorder(), Believing(), OpenLinks(), version="1", mode="recover").start()
    assert str(path) in str(raised.value)
    assert look(path) == before


@pytest.mark.parametrize("name", ["absent/s.sock", "s" * 120, "d" * 300 + "/s.sock", "file/s.sock"])
async def test_a_path_at_which_nothing_can_be_opened_is_told_in_one_line(path: Path, name: str) -> None:
    put("a file", path.with_name("file"))
    with pytest.raises(SocketError) as raised:
        await LinkServer(path.parent / name, Recorder(), Believing(), OpenLinks(), version="1", mode="recover").start()
    text = str(raised.value)
    assert name in text
    assert "\n" not in text


@pytest.mark.parametrize("successor", ["a sidecar", "a file"])
async def test_a_server_that_stops_does_not_remove_what_has_taken_its_place(path: Path, successor: str) -> None:
    async with serving(path) as stage:
        put("nothing", path)
        if successor == "a sidecar":
            async with serving(path) as later:
                await stage.server.stop()
                await later.greeted()
        else:
            put(successor, path)
            await stage.server.stop()
            assert look(path) != {}


@as_root
async def test_another_user_can_not_connect(path: Path) -> None:
    async with serving(path):
        child = say_hello(path, user=NOBODY)
        output, errors = await end(child)
    assert output == []
    assert "PermissionError" in errors


@as_root
async def test_another_user_is_refused_even_where_the_mode_lets_it_in(path: Path) -> None:
    async with serving(path) as stage:
        recorder = stage.recorder
        os.chmod(path, 0o666)  # noqa: PTH101 - not a blocking call worth a thread
        child = say_hello(path, user=NOBODY)
        output, _errors = await end(child)
        assert output[0] == "connected"
        assert not any("welcome" in line for line in output)
        refused = await recorder.next()
    assert isinstance(refused, Rejected)
    assert refused.reason == "foreign_uid"
    assert f"uid {NOBODY}" in refused.text
    assert f"process {child.pid}" in refused.text
    assert recorder.sessions == []


async def test_a_foreign_uid_is_refused_on_the_kernels_word(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, for those who run the tests without being root."""
    monkeypatch.setattr(Peer, "of", classmethod(lambda cls, _socket: cls(pid=os.getpid(), uid=os.geteuid() + 1)))
    async with serving(path) as stage:
        recorder = stage.recorder
        client = await stage.connect()
        assert await client.hear() is None
        refused = await recorder.next()
    assert isinstance(refused, Rejected)
    assert refused.reason == "foreign_uid"


async def test_a_process_that_calls_itself_by_another_pid_is_refused(path: Path) -> None:
    async with serving(path) as stage:
        recorder = stage.recorder
        child = say_hello(path, announced="1")
        output, _errors = await end(child)
        refused = await recorder.next()
    assert '"t":"reject"' in output[1]
    assert refused == Rejected("pid_mismatch", f"process {child.pid} calls itself 1")


async def test_a_process_may_call_itself_by_its_pid_in_its_own_namespace(path: Path) -> None:
    """A gateway in a container says 1 where we see 12345; the kernel's word is what is used."""
    if not may_make_namespaces():
        pytest.skip("no process namespace can be made here (unshare --pid)")
    async with serving(path) as stage:
        recorder = stage.recorder
        child = say_hello(path, prefix=UNSHARE)
        output, errors = await end(child)
        assert len(output) == 2, errors
        assert '"t":"welcome"' in output[1]
        hello = await recorder.next()
        [session] = recorder.sessions
    assert isinstance(hello, wire.Hello)
    assert hello.pid == 1
    assert session.pid not in {0, 1}


@pytest.mark.parametrize("announced", [1, 4711])
def test_a_process_that_can_not_be_seen_may_be_anybody(announced: int) -> None:
    assert Peer(pid=0, uid=0).may_be(announced)


def test_a_process_that_is_gone_may_have_been_anybody() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert Peer(pid=process.pid, uid=0).may_be(1)
