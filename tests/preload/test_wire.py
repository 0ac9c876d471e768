"""The wire, both ways: each side is fed every message of the other, made by the other's own code."""

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, get_args

import jsonschema
import pytest
from msgspec.structs import replace

from sidecar.link.changes import ChangeReader, Speaker
from sidecar.watch.reading import fingerprint_of
from sidecar.wire import messages as wire
from sidecar.wire.codec import decode_from_gateway, encode
from sidecar.wire.schema import json_schema
from tests.preload.conftest import Start
from tests.preload.kit import (
    BOUND_MS,
    PRELOAD,
    WELCOME,
    Answer,
    Connection,
    Gateway,
    Node,
    Sidecar,
    Told,
    approval,
    clean_environment,
    welcome,
)

FROM_GATEWAY: Final = {kind.__struct_config__.tag for kind in get_args(wire.GatewayMessage)}
FROM_SIDECAR: Final = {kind.__struct_config__.tag for kind in get_args(wire.SidecarMessage)}
SECRET: Final = "the-text-of-a-transcript"

EVERY_MESSAGE: Final = """
  const bus = { listeners: new Set() };
  globalThis[Symbol.for("openclaw.diagnosticEvents.state.v1")] = bus;
  await startRun({ jobId: "digest", trigger: "cron", sessionKey: "agent:main:SECRET" });
  for (const listener of bus.listeners) listener({
    type: "model.call.completed", runId: "run-1", callId: "call-1", sessionKey: "agent:main:SECRET", provider: "mock",
    model: "slow", durationMs: 12.5, usage: { input: 3, output: 4 }, prompt: "SECRET", output: "SECRET",
    trace: { traceId: "ab".repeat(16), spanId: "cd".repeat(8), parentSpanId: "ef".repeat(8) },
  });
  await coTenant("note");
  fs.appendFileSync(file, JSON.stringify({ type: "message", id: "two", parentId: "note", text: "SECRET" }) + "\\n");
  await endRun();
  await startRun();
  await coTenant("again", "answer");
  await endRun();
  await startRun();
  g.lockOptions.timeoutMs = 5;
  const held = await bundle.acquireSessionWriteLock({ sessionFile: file });
  setTimeout(() => held.release(), 30);
  await endRun();
  await bundle.acquireSessionWriteLock({ sessionFile: file });
  await bundle.acquireSessionWriteLock({ sessionFile: file, timeoutMs: 1 }).catch(() => {});
  try { fs.appendFileSync(new URL("file://elsewhere/s.jsonl"), "x"); } catch { }
""".replace("SECRET", SECRET)


@pytest.fixture
def full(start: Start, sidecar: Sidecar, tmp_path: Path) -> Gateway:
    """A gateway that has had occasion to say everything."""
    later = tmp_path / "later.sock"
    answers: list[type[wire.Approve] | None] = [wire.Approve, None]

    def once(connection: Connection, message: Told) -> Iterable[Answer]:
        yield from welcome(connection, message)
        if message["t"] == "ask" and answers.pop(0):
            yield approval(message)
        if message["t"] == "ask.lock":
            yield wire.Wait(window=message["window"], ask=message["ask"])

    gateway = start(socket_path=later)
    gateway.do("await new Promise((later) => setTimeout(later, 5)); fs.appendFileSync(file, '')")  # told to nobody
    later.hardlink_to(sidecar.path)
    sidecar.renew(forget=False)
    sidecar.answer = once
    sidecar.link.say(replace(WELCOME, answers=wire.ANSWERS))
    sidecar.sync()
    gateway.wait_at_most(BOUND_MS)
    gateway.do(EVERY_MESSAGE)
    # The answer to this is longer than the wire allows, so it is dropped, and the loss is told with the next message.
    sidecar.link.say(b'{"t":"sync","sync":"%s"}\n' % (b"x" * (wire.MAX_LINE_BYTES - 40)))
    sidecar.sync()
    gateway.end()
    sidecar.wait_for_end()
    return gateway


def test_every_message_of_a_gateway_is_understood_by_the_sidecar(full: Gateway, sidecar: Sidecar) -> None:
    messages = sidecar.connections[-1].messages
    assert {m.__struct_config__.tag for m in messages} == FROM_GATEWAY - {
        "rows",
        "db.lock",
        "turn.lost",
        "claim",
    }  # of a database
    assert [m.seq for m in messages] == list(range(1, len(messages) + 1))


def test_every_message_of_a_gateway_fits_the_published_schema(full: Gateway, sidecar: Sidecar) -> None:
    schema = json_schema()
    validator = jsonschema.Draft202012Validator({**schema, "oneOf": [{"$ref": "#/$defs/GatewayMessage"}]})
    for message in sidecar.told:
        validator.validate(message)


def test_no_message_of_a_gateway_has_a_field_that_the_sidecar_does_not_know(full: Gateway, sidecar: Sidecar) -> None:
    """Unknown fields are ignored by the decoder, so a field that is misspelt would be lost without a word."""
    known = {kind.__struct_config__.tag: {"t", *kind.__struct_fields__} for kind in get_args(wire.GatewayMessage)}
    for message in sidecar.told:
        assert set(message) <= known[message["t"]], message
        assert set(message.get("writer", {})) <= set(wire.WireWriter.__struct_fields__)
        assert set(message.get("run") or {}) <= set(wire.WireRun.__struct_fields__) or isinstance(message["run"], str)


def test_no_text_and_no_session_key_leaves_the_gateway(full: Gateway, sidecar: Sidecar) -> None:
    assert SECRET in full.file.read_text()
    for connection in sidecar.connections:
        assert not any(SECRET.encode() in line for line in connection.raw)


def test_the_reports_make_changes_that_end(full: Gateway, sidecar: Sidecar) -> None:
    reader = ChangeReader("link-1", Speaker(1))
    reports = [m for m in sidecar.connections[-1].messages if isinstance(m, wire.Changed)]
    last = {report.change: reader.read(report) for report in reports}
    assert all(change.finished for change in last.values())
    assert reports[-1].after == fingerprint_of(full.file).encode()


# The other way


HARNESS: Final = """
import { createInterface } from "node:readline";
const { Link } = await import(process.argv[2] + "/link.mjs");
const commands = [];
const describe = { hello: () => ({ openclaw: "test" }), connected() {}, syncing() {}, disconnected() {} };
const link = new Link(describe, (message) => commands.push(message));
const answers = [];
link.connect();
for await (const line of createInterface({ input: process.stdin })) {
  const { ask, send, ahead = [], untimed, released } = JSON.parse(line);
  if (untimed) globalThis.setTimeout = () => ({ unref() { return this; }, refresh() {} });
  for (const fields of ahead) link.send("lock.taken", fields);
  if (ask) link.ask(ask, 250).then((answer) => answers.push(answer ?? null));
  if (send) link.send(send, {});
  if (released) link.send("lock.released", released);
  process.stdout.write(`${JSON.stringify({ ready: link.ready, commands, answers })}\\n`);
}
process.exit(0);
"""
ASK: Final = {"window": "w", "file": "/f", "fence": "absent", "current": "1:2:3:4:5", "run": {}}


class LinkEnd:
    """The preload's link by itself, in a Node process."""

    def __init__(self, program: Node, sidecar: Sidecar) -> None:
        self.program = program
        self.sidecar = sidecar

    def look(self) -> Told:
        """What the link made of everything that was sent to it."""
        self.sidecar.sync()
        looked: Told = self.program.ask({})
        return looked

    def ask(self) -> str:
        """Ask a question; its id."""
        count = len(self.sidecar.said("ask")) + 1
        self.program.ask({"ask": ASK})
        return str(self.sidecar.wait_for_said("ask", count)[-1]["ask"])


@pytest.fixture
def end(node: Path, tmp_path: Path, sidecar: Sidecar) -> Iterator[LinkEnd]:
    script = tmp_path / "harness.mjs"
    script.write_text(HARNESS)
    env = clean_environment(OPENCLAW_SIDECAR_SOCKET=str(sidecar.path))
    with Node(node, script, PRELOAD.parent.as_uri(), env=env) as program:
        sidecar.renew(forget=False)
        yield LinkEnd(program, sidecar)


def test_every_message_of_a_sidecar_is_understood_by_the_preload(end: LinkEnd, sidecar: Sidecar) -> None:
    understood = set()

    assert end.look()["ready"] is True
    understood |= {"welcome", "sync"}

    sidecar.link.say(wire.Challenge(nonce="0" * 32))
    assert end.look()["ready"] is True
    understood.add("challenge")

    step = {"window": "w", "fence": "absent", "current": "1:2:3:4:5"}
    sidecar.link.say(wire.Approve(**step))
    assert end.look()["commands"] == [{"t": "approve", **step}]
    approved = wire.Approve(**step, ask=end.ask())
    sidecar.link.say(approved)
    assert end.look()["answers"] == [{"t": "approve", **step, "ask": approved.ask}]
    understood.add("approve")

    refused = wire.Refuse(window="w", ask=end.ask(), verdict="external", reason="bytes 1..2")
    sidecar.link.say(refused)
    assert end.look()["answers"][1:] == [
        {"t": "refuse", "window": "w", "ask": refused.ask, "verdict": "external", "reason": "bytes 1..2"}
    ]
    understood.add("refuse")

    wait = wire.Wait(window="w", ask=end.ask())
    sidecar.link.say(wait)
    assert end.look()["answers"][2:] == [{"t": "wait", "window": "w", "ask": wait.ask}]
    understood.add("wait")

    sidecar.link.say(wire.Patience(window="w", tries=3))
    assert end.look()["commands"][1:] == [{"t": "patience", "window": "w", "tries": 3}]
    understood.add("patience")

    sidecar.link.say(wire.Reject(protocol=1, reason="restart the gateway"))
    sidecar.wait_for(lambda: sidecar.connections[0].closed, "the end of the link")
    assert "restart the gateway" in end.program.end()
    understood.add("reject")

    assert understood == FROM_SIDECAR


def test_an_answer_that_nobody_waits_for_is_not_taken_and_is_reported_as_late(end: LinkEnd, sidecar: Sidecar) -> None:
    ask = end.ask()
    [first] = sidecar.wait_for_said("applied")
    assert (first["ok"], first["ask"], first["window"]) == (False, ask, "w")
    assert (first["fence"], first["current"]) == (ASK["fence"], ASK["current"])
    assert int(first["latency"]) >= 249_000_000

    sidecar.link.say(wire.Approve(window="w", fence="absent", current="1:2:3:4:5", ask=ask))
    assert end.look()["answers"] == [None]
    [_, second] = sidecar.wait_for_said("applied", 2)
    assert (second["ok"], second["ask"]) == (False, ask)
    assert int(second["latency"]) > int(first["latency"])

    sidecar.link.say(wire.Approve(window="w", fence="absent", current="1:2:3:4:5", ask=ask))
    assert end.look()["commands"] == []
    assert len(sidecar.said("applied")) == 2


def test_reports_that_can_wait_a_little_go_ahead_of_a_question_and_come_by_themselves(
    end: LinkEnd, sidecar: Sidecar
) -> None:
    taken = [{"file": "/f", "hold": f"h{number}", "writer": {"kind": "cron"}, "wait": "1"} for number in range(600)]
    end.program.ask({"ahead": taken[:2], "ask": ASK})
    sidecar.wait_for_said("ask")
    kinds = [message["t"] for message in sidecar.told if message["t"] in {"lock.taken", "ask"}]
    assert kinds == ["lock.taken", "lock.taken", "ask"]

    end.program.ask({"ahead": taken[2:]})
    told = sidecar.wait_for_said("lock.taken", len(taken))
    assert [message["hold"] for message in told] == [fields["hold"] for fields in taken]
    numbers = [message["seq"] for message in sidecar.told if message["t"] != "sync"]
    assert numbers == list(range(1, len(numbers) + 1))


def test_what_is_said_of_a_lock_goes_out_as_it_is_given_back(end: LinkEnd, sidecar: Sidecar) -> None:
    hold = {"file": "/f", "hold": "h1", "writer": {"kind": "cron"}}
    released = {**hold, "after": "absent", "held": "1"}
    end.program.ask({"untimed": True, "ahead": [{**hold, "wait": "1"}], "released": released})
    sidecar.wait_for_said("lock.released")
    kinds = [message["t"] for message in sidecar.told if message["t"].startswith("lock.")]
    assert kinds == ["lock.taken", "lock.released"]


def test_a_welcome_of_another_protocol_is_no_welcome(end: LinkEnd, sidecar: Sidecar) -> None:
    assert end.look()["ready"] is True
    sidecar.link.say(replace(WELCOME, protocol=wire.PROTOCOL + 1))
    assert end.look()["ready"] is False


@pytest.mark.parametrize(
    "line",
    [
        b'{"t":"reject","protocol":1,"reason":{"toString":1,"valueOf":1}}',
        b'{"t":"welcome","protocol":{"toString":1,"valueOf":1},"sidecar":"0","mode":"recover"}',
        b'{"t":"welcome","protocol":1,"sidecar":"0","mode":{"toString":1,"valueOf":1}}',
        b'{"t":{"toString":1,"valueOf":1}}',
        b'{"t":"sync","sync":{"toString":1,"valueOf":1}}',
        b'{"t":"approve","ask":{"toString":1,"valueOf":1}}',
        b'{"t":"approve","window":{"toString":1,"valueOf":1}}',
        b"[]",
    ],
)
def test_a_message_of_another_shape_does_not_end_the_gateway(end: LinkEnd, sidecar: Sidecar, line: bytes) -> None:
    sidecar.link.say(line + b"\n")
    sidecar.renew(forget=False)
    assert end.look()["ready"] is True


def test_a_message_may_come_in_pieces_and_several_in_one(end: LinkEnd, sidecar: Sidecar) -> None:
    line = encode(wire.Approve(window="wé", fence="absent", current="absent"))
    cut = line.index(b"\xc3") + 1  # in the middle of a character
    sidecar.link.say(line[:cut])
    assert end.program.ask({})["commands"] == []
    sidecar.link.say(line[cut:] + line + line)
    assert [command["window"] for command in end.look()["commands"]] == ["wé"] * 3


@pytest.mark.parametrize(
    "line",
    [
        b'{"t":"from-the-future","window":"w"}',
        b"{}",
        b"null",
        b"1",
        b'"text"',
        b"[1,2]",
        b'{"t":null}',
        b'{"t":{"t":"approve"}}',
        b'{"t":"refuse","ask":"no such question"}',
        b'{"t":"approve","ask":{"ask":1}}',
        b'{"t":"sync"}',
        b'{"t":"sync","sync":17}',
    ],
)
def test_what_it_does_not_know_is_ignored_and_the_link_stays(end: LinkEnd, sidecar: Sidecar, line: bytes) -> None:
    sidecar.link.say(line + b"\n")
    looked = end.look()
    assert (looked["ready"], looked["commands"], looked["answers"]) == (True, [], [])
    assert len(sidecar.connections) == 1


@pytest.mark.parametrize(
    "line", [b"no JSON", b"", b"{", os.urandom(200).replace(b"\n", b""), b"\xff\xfe\x00", b"[" * 100_000]
)
def test_what_is_no_json_ends_the_link_and_nothing_after_it_is_heard(
    end: LinkEnd, sidecar: Sidecar, line: bytes
) -> None:
    command = encode(wire.Approve(window="w", fence="absent", current="absent"))
    sidecar.link.say(line + b"\n" + command)
    sidecar.wait_for_said("hello", 2)
    looked = end.look()
    assert (looked["ready"], looked["commands"]) == (True, [])


def test_a_line_without_an_end_is_not_kept(end: LinkEnd, sidecar: Sidecar) -> None:
    sidecar.link.say(b"x" * (wire.MAX_LINE_BYTES + 70_000))
    sidecar.wait_for_said("hello", 2)
    assert end.look()["ready"] is True


def digest(text: str) -> str:
    """A name that may be a sentence, as it leaves the process (rule 7)."""
    return f"sha256:{sha256(text.encode()).hexdigest()[:16]}"


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("label: 'x'.repeat(119) + '😀', ", {"name": digest("x" * 119 + "😀")}),
        ("label: 'half \\ud83d', ", {"name": digest("half \ufffd")}),
        ("label: 'no escape: \\\\ud83d', ", {"name": digest("no escape: \\ud83d")}),
        ("label: 'line\\nbreak', ", {"name": digest("line\nbreak")}),
        ("label: 17, ", {}),
        ("label: 'x'.repeat(120), ", {"name": "x" * 120}),
        ("label: 'x'.repeat(5000), ", {"name": digest("x" * 5000)}),
    ],
)
def test_no_name_makes_a_message_that_the_sidecar_must_refuse(
    start: Start, sidecar: Sidecar, code: str, fields: dict[str, Any]
) -> None:
    gateway = start()
    gateway.do(
        "await bundle.appendInjectedAssistantMessageToTranscript({"
        f"{code} sessionFile: file, record: {{ type: 'message', id: 'x' }} }})"
    )
    sidecar.wait_for_said("lock.released")
    writers = [m.writer for m in sidecar.link.messages if isinstance(m, wire.Changed)]
    assert {(w.kind, w.name) for w in writers} == {("inject", fields.get("name", ""))}


def test_times_before_1970_are_told_in_a_form_that_both_sides_share(start: Start, sidecar: Sidecar) -> None:
    gateway = start()
    gateway.do("fs.utimesSync(file, -5, -5)")
    [report] = sidecar.wait_for_said("change")
    assert report["after"] == fingerprint_of(gateway.file).encode()
    assert [m.after for m in map(decode_from_gateway, sidecar.link.raw) if isinstance(m, wire.Changed)] == [
        report["after"]
    ]


def test_inodes_above_2_to_the_63_are_told_as_the_kernel_has_them(node: Path, tmp_path: Path) -> None:
    """Node gives them as negative numbers; no file system here has any, so the fingerprint is made up."""
    script = tmp_path / "fingerprint.mjs"
    script.write_text(
        "const { encode } = await import(process.argv[2]);\n"
        "const fields = { exists: true, dev: 1n, ino: -2n, size: 3n, mtimeNs: -4n, ctimeNs: 5n };\n"
        "console.log(JSON.stringify(encode(fields)));\n"
    )
    with Node(node, script, (PRELOAD.parent / "fingerprint.mjs").as_uri()) as program:
        assert program.hear() == f"1:{2**64 - 2}:3:{2**64 - 4}:5"
