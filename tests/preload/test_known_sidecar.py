"""Who obeys whom: the preload's key, and which sidecar it takes orders from."""

import hmac
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from sidecar.wire import messages as wire
from tests.preload.conftest import Start
from tests.preload.kit import (
    PRELOAD,
    SLACK_MS,
    WELCOME,
    Answer,
    Connection,
    Gateway,
    Sidecar,
    Told,
    approval,
    approving,
    socket_directory,
)

KEY: Final = "0123456789abcdef" * 2
SECRET: Final = "fedcba9876543210" * 4
NONCE: Final = "00112233445566778899aabbccddeeff"
NOBODY: Final = 65534
WELCOMED: Final = {"t": "welcome", "protocol": 3, "sidecar": "0", "mode": "recover", "verified": True}
STAY: Final = 'parentPort.on("message", () => {});'
"""The end of a worker thread that has none."""
CHALLENGE: Final = wire.Challenge(nonce=NONCE)

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="files of other users are made by root")


def proof(speaker: str, nonce: str) -> str:
    """What shows that somebody has the key."""
    return hmac.new(bytes.fromhex(SECRET), f"{speaker}\n{nonce}".encode(), sha256).hexdigest()


def keyed(_connection: Connection, message: Told) -> Iterable[Answer]:
    """As the sidecar that gives out the key, and knows it."""
    if message["t"] == "hello":
        yield (
            replace(WELCOME, proof=proof("sidecar", message["nonce"]))
            if message.get("key") == KEY
            else replace(WELCOME, key=KEY, secret=SECRET)
        )
    if message["t"] == "ask":
        yield approval(message)


def challenging(_connection: Connection) -> Iterable[Answer]:
    """As a sidecar of protocol 3."""
    yield CHALLENGE


@pytest.fixture
def knowing(sidecar: Sidecar) -> Sidecar:
    """A sidecar that gives out a key."""
    sidecar.opening, sidecar.answer = challenging, keyed
    return sidecar


def turn(gateway: Gateway) -> str:
    """How a turn ends beside which a co-tenant wrote."""
    gateway.renew()
    gateway.do("await startRun(); await coTenant()")
    return str(gateway.do("return (await endRun()).outcome"))


def relink(gateway: Gateway, sidecar: Sidecar) -> Told:
    """End the link; the hello of the next one, when all has been said on it."""
    links = len(sidecar.connections)
    sidecar.hang_up(sidecar.link)
    sidecar.wait_for(lambda: len(sidecar.connections) > links and sidecar.link.greeted, "another link")
    sidecar.sync()
    gateway.do("return 1")
    return sidecar.link.told[0]


def told_why(sidecar: Sidecar) -> str:
    """Why the gateway does not obey, as it tells the one who listens."""
    [trouble] = sidecar.wait_for_said("trouble")
    assert trouble["where"] == "sidecar"
    return str(trouble["reason"])


def lines_of(gateway: Gateway) -> list[str]:
    """What it said to people until its end."""
    return gateway.end().splitlines()


# The key


def test_a_process_without_a_key_says_hello_at_once_and_names_its_script(start: Start, sidecar: Sidecar) -> None:
    gateway = start()
    [hello] = sidecar.wait_for_said("hello")
    assert (hello["key"], hello["proof"]) == ("", "")
    assert Path(hello["script"]) == Path(str(gateway.process.args[1])).resolve()  # type: ignore[index]
    assert len(bytes.fromhex(hello["nonce"])) == 16


def test_a_script_is_named_by_its_real_path(node: Path, tmp_path: Path, sidecar: Sidecar) -> None:
    """A package's program is started by a link in a directory of programs."""
    real = tmp_path / "driver.mjs"
    with Gateway(node, tmp_path, sidecar.path) as gateway:
        sidecar.wait_for_said("hello")
        bundle = gateway.process.args[2]  # type: ignore[index]
        (tmp_path / "openclaw").symlink_to(real)
        args = [str(node), str(tmp_path / "openclaw"), str(bundle)]
        gateway.do(f"""
          const {{ execFileSync }} = await import("node:child_process");
          execFileSync({args[0]!r}, {args[1:]!r}, {{ input: JSON.stringify({{ code: "await 0" }}) + "\\n" }});
        """)
    hello = sidecar.wait_for_said("hello", 2)[1]
    assert hello["script"] == str(real.resolve())


def test_a_process_proves_its_key_on_each_later_link(start: Start, knowing: Sidecar) -> None:
    gateway = start()
    knowing.wait_for_adapter("swap")
    for _ in range(2):
        hello = relink(gateway, knowing)
        assert (hello["key"], hello["proof"]) == (KEY, proof("gateway", NONCE))
        assert turn(gateway) == "answered"
    nonces = [hello["nonce"] for hello in knowing.said("hello")]
    assert len(set(nonces)) == 3
    assert knowing.said("trouble") == []


def test_a_process_keeps_its_first_key(start: Start, knowing: Sidecar) -> None:
    def giving_another(connection: Connection, message: Told) -> Iterable[Answer]:
        for answer in keyed(connection, message):
            if isinstance(answer, wire.Welcome) and answer.proof:
                yield replace(answer, key="9" * 32, secret="9" * 64)
            else:
                yield answer

    gateway = start()
    knowing.answer = giving_another
    knowing.wait_for_adapter("swap")
    for _ in range(2):
        assert relink(gateway, knowing)["key"] == KEY


def test_a_key_comes_from_no_sidecar_that_is_not_obeyed(start: Start, knowing: Sidecar) -> None:
    knowing.path.parent.chmod(0o777)
    gateway = start()
    knowing.wait_for_said("trouble")
    assert relink(gateway, knowing)["key"] == ""


def test_the_key_is_in_no_environment_no_child_no_file_and_no_line(
    start: Start, knowing: Sidecar, tmp_path: Path
) -> None:
    gateway = start()
    knowing.wait_for_adapter("swap")
    relink(gateway, knowing)
    seen = gateway.do("""
      const { execFileSync } = await import("node:child_process");
      const { Worker } = await import("node:worker_threads");
      const child = execFileSync(process.execPath, ["-e", `
        const { getEnvironmentData } = require("node:worker_threads");
        console.log(JSON.stringify(process.env), String(getEnvironmentData("openclaw-sidecar.process")));
      `], { encoding: "utf8" });
      const code = `require("node:worker_threads").parentPort.postMessage({ ...process.env })`;
      const worker = new Worker(code, { eval: true });
      const environment = await new Promise((heard) => worker.once("message", heard));
      return [child, ...[environment, process.env, process.argv].map((each) => JSON.stringify(each))].join("\\n");
    """)
    assert " undefined\n" in seen
    seen += Path(f"/proc/{gateway.process.pid}/environ").read_text()
    errors = gateway.end()
    wanted = {secret for text in (KEY, SECRET) for secret in (text.encode(), bytes.fromhex(text))}
    on_disk = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for where in (seen.encode(), errors.encode(), *on_disk):
        assert not [secret for secret in wanted if secret in where]


@pytest.mark.parametrize("nonce", ["", "0" * 31, "g" * 32, "0" * 64])
def test_a_challenge_of_another_shape_is_none(start: Start, knowing: Sidecar, nonce: str) -> None:
    gateway = start()
    knowing.wait_for_adapter("swap")
    knowing.opening = lambda _: (b'{"t":"challenge","nonce":"%s"}\n' % nonce.encode(),)
    hello = relink(gateway, knowing)
    assert (hello["key"], hello["proof"]) == (KEY, "")


# A hello that waits


@pytest.fixture
def patched(tmp_path: Path) -> Callable[..., str]:
    """What NODE_OPTIONS name so that waits of the link take as long as given."""

    def patch(**milliseconds: int) -> str:
        copy = Path(shutil.copytree(PRELOAD.parent, tmp_path / "patched", dirs_exist_ok=True))
        link = copy / "link.mjs"
        text = link.read_text()
        for name, value in milliseconds.items():
            text, count = re.subn(rf"^const {name} = \d+;$", f"const {name} = {value};", text, flags=re.MULTILINE)
            assert count == 1, name
        link.write_text(text)
        return f"--import={copy / PRELOAD.name}"

    return patch


def start_worker(gateway: Gateway, end: str) -> None:
    """A thread that loads the bundle, writes five bytes to the session file, and does ``end``."""
    code = f"""
      import fs from "node:fs";
      import {{ parentPort }} from "node:worker_threads";
      await import(BUNDLE);
      fs.appendFileSync({str(gateway.file)!r}, "early");
      {end}
    """
    gateway.do(f"""
      const {{ Worker }} = await import("node:worker_threads");
      const code = {json.dumps(code)}.replace("BUNDLE", JSON.stringify(process.argv[2]));
      g.worker = new Worker(new URL(`data:text/javascript,${{encodeURIComponent(code)}}`));
      g.worker.unref();
    """)


def test_a_hello_waits_for_the_challenge_and_what_was_done_meanwhile_follows_it(
    start: Start, knowing: Sidecar, patched: Callable[..., str]
) -> None:
    """In a worker thread, which has its process' key from the start."""
    gateway = start(NODE_OPTIONS=patched(CHALLENGE_MS=SLACK_MS))
    knowing.wait_for_adapter("swap")
    knowing.opening = lambda _: ()
    start_worker(gateway, STAY)
    knowing.wait_for(lambda: len(knowing.connections) > 1, "the worker's link")
    assert knowing.link.told == []
    knowing.link.say(CHALLENGE)
    [change] = knowing.wait_for_said("change")
    hello = knowing.link.told[0]
    assert (hello["t"], hello["key"], hello["proof"]) == ("hello", KEY, proof("gateway", NONCE))
    assert (hello["lost"], change["length"]) == (0, 5)


def test_a_challenge_that_does_not_come_is_waited_for_a_moment_only(start: Start, knowing: Sidecar) -> None:
    gateway = start()
    knowing.wait_for_adapter("swap")
    knowing.opening = lambda _: ()
    start_worker(gateway, STAY)
    [change] = knowing.wait_for_said("change")
    hello = knowing.link.told[0]
    assert (hello["key"], hello["proof"], hello["lost"], change["length"]) == (KEY, "", 0, 5)
    assert turn(gateway) == "answered", "the sidecar's own proof needs no challenge"


def test_a_thread_that_ends_while_its_hello_waits_says_all_that_it_did(
    start: Start, knowing: Sidecar, patched: Callable[..., str]
) -> None:
    gateway = start(NODE_OPTIONS=patched(CHALLENGE_MS=SLACK_MS))
    knowing.wait_for_adapter("swap")
    knowing.opening = lambda _: ()
    turns = "for (let n = 0; n < 3; n += 1) await new Promise(setImmediate);"  # in which it hears that it is connected
    start_worker(gateway, f'parentPort.once("message", async () => {{ {turns} process.exit(0); }});')
    knowing.wait_for(lambda: len(knowing.connections) > 1, "the worker's link")
    gateway.do("g.worker.postMessage(1)")
    messages = knowing.wait_for_end(1).messages
    assert isinstance(messages[-1], wire.Bye)
    assert [m.length for m in messages if isinstance(m, wire.Changed)] == [5]
    assert isinstance(messages[0], wire.Hello)
    assert messages[0].lost == 0


def test_a_worker_waits_for_the_key_that_its_main_thread_may_get(
    start: Start, knowing: Sidecar, patched: Callable[..., str]
) -> None:
    knowing.answer = lambda connection, message: keyed(connection, message) if connection.number else ()
    gateway = start(NODE_OPTIONS=patched(KEY_MS=SLACK_MS))
    knowing.wait_for_said("hello")
    start_worker(gateway, STAY)
    knowing.wait_for(lambda: len(knowing.connections) > 1, "the worker's link")
    assert knowing.link.told == []
    knowing.connections[0].say(replace(WELCOME, key=KEY, secret=SECRET))
    [change] = knowing.wait_for_said("change")
    hello = knowing.link.told[0]
    assert (hello["thread"] > 0, hello["key"], hello["proof"]) == (True, KEY, proof("gateway", NONCE))
    assert (hello["lost"], change["length"]) == (0, 5)
    assert hello["script"] == knowing.connections[0].told[0]["script"]


def test_a_worker_does_not_wait_for_ever(start: Start, knowing: Sidecar, patched: Callable[..., str]) -> None:
    knowing.answer = lambda _connection, _message: ()
    gateway = start(NODE_OPTIONS=patched(KEY_MS=50))
    knowing.wait_for_said("hello")
    start_worker(gateway, STAY)
    assert knowing.wait_for_said("hello", 2)[1]["key"] == ""


def test_a_worker_does_not_wait_where_its_main_thread_was_given_no_key(
    start: Start, sidecar: Sidecar, patched: Callable[..., str]
) -> None:
    gateway = start(NODE_OPTIONS=patched(KEY_MS=10 * SLACK_MS))
    sidecar.wait_for_adapter("swap")
    sidecar.sync()
    start_worker(gateway, STAY)
    assert sidecar.wait_for_said("hello", 2)[1]["key"] == ""


# Whom it obeys


@contextmanager
def pretender(path: Path, *, approves_ahead: bool = True) -> Iterator[Sidecar]:
    """A program that took the path of a sidecar that is gone, and approves everything, asked or not."""

    def yes(connection: Connection, message: Told) -> Iterable[Answer]:
        yield from approving(connection, message)
        if message["t"] == "change" and message["phase"] != "begin" and approves_ahead:
            for fence in (m for m in connection.told if m["t"] == "fence.set" and m["file"] == message["file"]):
                yield wire.Approve(window=fence["window"], fence=fence["fence"], current=message["after"])

    path.unlink(missing_ok=True)
    with Sidecar(path) as fake:
        fake.opening, fake.answer = challenging, yes
        yield fake


def test_a_pretender_that_approves_everything_is_obeyed_where_nothing_speaks_against_it(
    start: Start, sidecar: Sidecar
) -> None:
    """The tests below could not fail without this one; and it is the limit of what can be known without a key."""
    path = sidecar.path.with_name("p.sock")
    with pretender(path) as fake:
        gateway = start(socket_path=path)
        fake.wait_for_adapter("swap")
        fake.sync()
        assert turn(gateway) == "answered"


def test_a_pretender_that_took_the_path_of_a_sidecar_that_died_is_not_obeyed(start: Start, sidecar: Sidecar) -> None:
    path = sidecar.path.with_name("p.sock")
    with Sidecar(path) as real:
        real.opening, real.answer = challenging, keyed
        gateway = start(socket_path=path)
        real.wait_for_adapter("swap")
        real.sync()
        assert turn(gateway) == "answered"
    with pretender(path) as fake:
        assert "does not prove" in told_why(fake)
        assert turn(gateway) == "takeover"
        fake.sync()
        assert fake.said("ask") == []
        assert [change["length"] for change in fake.said("change")], "reports go on: they carry no text"
    path.unlink()
    with Sidecar(path) as real:
        real.opening, real.answer = challenging, keyed
        real.wait_for_adapter("swap")
        real.sync()
        assert turn(gateway) == "answered"
    [line] = lines_of(gateway)
    assert "is not obeyed" in line
    assert "restart the gateway" in line


@pytest.mark.parametrize("given", ["", "0" * 64, "0" * 63, "nonsense", 7, None])
def test_a_proof_that_is_not_right_is_none(start: Start, knowing: Sidecar, given: object) -> None:
    gateway = start()
    knowing.wait_for_adapter("swap")

    def wrong(connection: Connection, message: Told) -> Iterable[Answer]:
        if message["t"] == "hello":
            yield json.dumps({**WELCOMED, "proof": given}).encode() + b"\n"
        elif message["t"] == "ask":
            yield approval(message)

    knowing.answer = wrong
    relink(gateway, knowing)
    assert turn(gateway) == "takeover"
    assert knowing.said("ask") == []


def test_the_proof_of_another_link_is_none(start: Start, knowing: Sidecar) -> None:
    """Whoever has read the lines of an earlier link can say them again."""
    gateway = start()
    knowing.wait_for_adapter("swap")
    first = relink(gateway, knowing)
    replayed = replace(WELCOME, proof=proof("sidecar", first["nonce"]))
    knowing.answer = lambda _, message: (replayed,) if message["t"] == "hello" else ()
    relink(gateway, knowing)
    assert "does not prove" in told_why(knowing)
    assert turn(gateway) == "takeover"


@pytest.mark.parametrize("protocol", [1, 2])
def test_an_older_sidecar_is_obeyed_only_by_a_process_without_a_key(
    start: Start, sidecar: Sidecar, protocol: int
) -> None:
    old = wire.Welcome(protocol=protocol, sidecar="0", mode="recover")

    def older(_connection: Connection, message: Told) -> Iterable[Answer]:
        if message["t"] == "hello":
            yield old
        if message["t"] == "ask":
            yield approval(message)

    sidecar.answer = older
    gateway = start()
    sidecar.wait_for_adapter("swap")
    sidecar.sync()
    assert turn(gateway) == "answered"
    sidecar.opening, sidecar.answer = challenging, keyed
    relink(gateway, sidecar)
    sidecar.opening, sidecar.answer = (lambda _: ()), older
    assert relink(gateway, sidecar)["key"] == KEY
    assert turn(gateway) == "takeover"
    assert "does not prove" in told_why(sidecar)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o2775])
def test_a_sidecar_in_a_directory_that_others_may_write_to_is_not_obeyed(
    start: Start, sidecar: Sidecar, mode: int
) -> None:
    sidecar.answer = approving
    sidecar.path.parent.chmod(mode)
    gateway = start()
    assert f"mode {mode:o}" in told_why(sidecar)
    assert turn(gateway) == "takeover"
    assert sidecar.said("ask") == []
    [line] = lines_of(gateway)
    assert "others may write" in line
    assert "OPENCLAW_SIDECAR_SOCKET" in line


def test_it_is_obeyed_when_it_comes_again_in_a_directory_of_its_own(start: Start, sidecar: Sidecar) -> None:
    sidecar.answer = approving
    sidecar.path.parent.chmod(0o777)
    gateway = start()
    told_why(sidecar)
    sidecar.path.parent.chmod(0o755)
    relink(gateway, sidecar)
    assert turn(gateway) == "answered"


def test_a_link_to_a_socket_is_not_obeyed(start: Start, sidecar: Sidecar) -> None:
    sidecar.answer = approving
    link = sidecar.path.with_name("link.sock")
    link.symlink_to(sidecar.path)
    gateway = start(socket_path=link)
    assert "no socket at its path" in told_why(sidecar)
    assert turn(gateway) == "takeover"


@only_root
def test_the_socket_of_another_user_is_not_obeyed(start: Start) -> None:
    """Bound by a process of that user, in a directory that it may write to."""
    with socket_directory() as directory:
        directory.chmod(0o755)
        inner = directory / "inner"
        inner.mkdir()
        os.chown(inner, NOBODY, NOBODY)
        path = inner / "s.sock"
        with foreign_sidecar(path) as told:
            gateway = start(socket_path=path)
            assert f"uid {NOBODY}" in told()
            assert turn(gateway) == "takeover"
            [line] = lines_of(gateway)
    assert "OPENCLAW_SIDECAR_UID" in line


FOREIGN: Final = """
import json, os, socket, sys
os.setgroups([]); os.setgid(UID); os.setuid(UID)
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen()
print("bound", flush=True)
end, _ = listener.accept()
for line in end.makefile("rb"):
    message = json.loads(line)
    if message["t"] == "hello":
        end.sendall(sys.argv[2].encode() + b"\\n")
    if message["t"] == "ask":
        same = {name: message[name] for name in ("window", "fence", "current", "ask")}
        end.sendall(json.dumps({"t": "approve", **same}).encode() + b"\\n")
    if message["t"] in {"trouble", "ask"}:
        print(json.dumps(message), flush=True)
""".replace("UID", str(NOBODY))
"""A program of another user that approves everything, and tells of troubles and questions."""


@contextmanager
def foreign_sidecar(path: Path) -> Iterator[Callable[[], str]]:
    """Its process; what is given hears the next trouble."""
    command = [sys.executable, "-c", FOREIGN, str(path), json.dumps(WELCOMED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        stdout = process.stdout
        assert stdout.readline() == "bound\n"

        def told() -> str:
            message = json.loads(stdout.readline())
            assert (message["t"], message["where"]) == ("trouble", "sidecar")
            return str(message["reason"])

        yield told
        process.kill()


@only_root
@pytest.mark.parametrize(("of_directory", "of_socket"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("uid", ["65534", "0", "nobody"])
def test_a_sidecar_of_a_user_of_its_own_is_obeyed_where_the_gateways_environment_names_it(
    start: Start, sidecar: Sidecar, uid: str, *, of_directory: bool, of_socket: bool
) -> None:
    sidecar.answer = approving
    for path in [sidecar.path.parent] * of_directory + [sidecar.path] * of_socket:
        os.chown(path, NOBODY, NOBODY)
    gateway = start(OPENCLAW_SIDECAR_UID=uid)
    sidecar.wait_for_adapter("swap")
    sidecar.sync()
    fits = uid == str(NOBODY) and of_directory and of_socket
    assert turn(gateway) == ("answered" if fits else "takeover")
    assert len(sidecar.said("trouble")) == (0 if fits else 1)


@only_root
def test_a_directory_that_another_user_has_linked_to_is_not_obeyed(start: Start, sidecar: Sidecar) -> None:
    """Whoever made the link can point it elsewhere."""
    sidecar.answer = approving
    with socket_directory() as directory:
        link = directory / "l"
        link.symlink_to(sidecar.path.parent)
        gateway = start(socket_path=link / sidecar.path.name)
        sidecar.wait_for_adapter("swap")
        sidecar.sync()
        assert turn(gateway) == "answered"
        os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
        relink(gateway, sidecar)
        assert f"uid {NOBODY}" in told_why(sidecar)
        assert turn(gateway) == "takeover"


# Who is not believed


def test_a_process_that_is_not_verified_asks_nothing_obeys_nothing_and_says_why_once(
    start: Start, sidecar: Sidecar
) -> None:
    path = sidecar.path.with_name("p.sock")
    doubting = replace(WELCOME, verified=False, reason="its main script is\nnot OpenClaw's\x1b[31m")
    with pretender(path) as doubter:
        yes = doubter.answer
        doubter.answer = lambda connection, message: (
            (doubting,) if message["t"] == "hello" else yes(connection, message)
        )
        gateway = start(socket_path=path)
        doubter.wait_for_adapter("swap")
        doubter.sync()
        assert turn(gateway) == "takeover"
        relink(gateway, doubter)
        assert doubter.said("ask") == []
        assert doubter.said("trouble") == []
        assert doubter.said("change")
        [line] = lines_of(gateway)
    assert "its main script is not OpenClaw's [31m" in line


def test_a_process_that_is_verified_later_is_obeyed_from_then_on(start: Start, knowing: Sidecar) -> None:
    knowing.answer = lambda connection, message: (
        (replace(WELCOME, verified=False, reason="too early"),)
        if message["t"] == "hello"
        else keyed(connection, message)
    )
    gateway = start()
    knowing.wait_for_adapter("swap")
    knowing.sync()
    assert turn(gateway) == "takeover"
    knowing.link.say(replace(WELCOME, key=KEY, secret=SECRET))
    knowing.sync()
    assert turn(gateway) == "answered"
    assert relink(gateway, knowing)["key"] == KEY


def test_what_was_approved_is_forgotten_with_the_faith_in_who_approved_it(start: Start, sidecar: Sidecar) -> None:
    with pretender(sidecar.path.with_name("p.sock")) as fake:
        gateway = start(socket_path=fake.path)
        fake.wait_for_adapter("swap")
        fake.sync()
        gateway.renew()
        gateway.do("await startRun(); await coTenant()")
        fake.sync()
        fake.link.say(replace(WELCOME, verified=False))
        fake.sync()
        assert gateway.do("return (await endRun()).outcome") == "takeover"


@pytest.mark.parametrize("proves", [True, False])
def test_a_key_that_could_not_be_proven_in_time_is_proven_on_another_link(
    start: Start, knowing: Sidecar, *, proves: bool
) -> None:
    """In a container only the key tells the gateway from its tools; a sidecar may be too busy to challenge in time.

    It proves itself to whom it believes, so that nobody gets a proof from it that is meant for another.
    """
    gateway = start()
    knowing.wait_for_adapter("swap")

    def strict(connection: Connection, message: Told) -> Iterable[Answer]:
        for answer in keyed(connection, message):
            if isinstance(answer, wire.Welcome) and not message["proof"]:
                yield CHALLENGE  # late
                unproven = {} if proves else {"proof": ""}
                yield replace(answer, verified=False, reason="it proves no key", **unproven)
            else:
                yield answer

    links = len(knowing.connections)
    knowing.opening = lambda connection: () if connection.number == links else challenging(connection)
    knowing.answer = strict
    knowing.hang_up(knowing.link)
    knowing.wait_for(lambda: len(knowing.connections) > links + 1 and knowing.link.greeted, "one more link")
    knowing.sync()
    assert knowing.link.told[0]["proof"] == proof("gateway", NONCE)
    assert turn(gateway) == "answered"
    assert lines_of(gateway) == []
