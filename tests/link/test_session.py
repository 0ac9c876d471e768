"""One link: greeting, order, bad input, questions to the gateway, its end. Real sockets."""

import asyncio
import os
import re
import socket
from pathlib import Path
from typing import Final

import pytest

from sidecar.core import events as ev
from sidecar.core.decisions import Refuse
from sidecar.core.facts.gateway import Role
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.writer import WriterKind
from sidecar.core.verdict.judge import Verdict
from sidecar.link.session import MAX_UNSENT_BYTES
from sidecar.link.translate import message_of
from sidecar.wire import messages as wire
from sidecar.wire.codec import decode_from_sidecar, encode
from tests.link.kit import AT, Closed, Gap, Rejected, Voice, greeted, meant, serving
from tests.link.running import until

BOUND_SECONDS: Final = 0.05
EXECUTABLE: Final = str(Path("/proc/self/exe").readlink())


async def test_every_link_is_challenged_with_a_number_of_its_own_ahead_of_its_hello(path: Path) -> None:
    async with serving(path) as stage:
        told = [decode_from_sidecar(await (await stage.connect()).reader.readline()) for _ in range(2)]
    nonces = {message.nonce for message in told if isinstance(message, wire.Challenge)}
    assert len(nonces) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", nonce) for nonce in nonces)


async def test_a_hello_is_welcomed_with_version_and_mode(path: Path) -> None:
    async with serving(path) as stage:
        recorder = stage.recorder
        client = await stage.connect()
        client.say(client.hello(lost=3))
        assert await client.hear() == wire.Welcome(
            protocol=wire.PROTOCOL, sidecar="1.2.3", mode="recover", answers=wire.ANSWERS, verified=True
        )
        hello = await recorder.next()
        [session] = recorder.sessions
    assert isinstance(hello, wire.Hello)
    assert (session.pid, session.peer.uid, session.lost) == (os.getpid(), os.geteuid(), 3)


@pytest.mark.parametrize("waits", [True, False])
async def test_messages_come_in_the_order_in_which_they_were_sent(path: Path, *, waits: bool) -> None:
    async with serving(path) as stage:
        recorder = stage.recorder
        recorder.waits = waits
        client = await stage.greeted()
        sent = [client.closed(f"w{number}") for number in range(200)]
        client.say(*sent)
        assert [await recorder.next() for _ in sent] == [meant(message) for message in sent]


async def test_a_message_may_come_in_pieces(path: Path) -> None:
    async with greeted(path) as (recorder, client):
        message = client.closed("wé" * 40)
        for byte in encode(message):
            client.say(bytes([byte]))
            await client.writer.drain()
        assert await recorder.next() == meant(message)


async def test_links_are_told_apart(path: Path) -> None:
    async with serving(path) as stage:
        recorder = stage.recorder
        clients = [await stage.greeted() for _ in range(3)]
        for client, window in zip(clients, "abc", strict=True):
            client.say(client.closed(window))
            session, _ = await recorder.told.get()
            assert session is recorder.sessions["abc".index(window)]
        assert len({session.name for session in recorder.sessions}) == 3


# Bad input: one line, counted, link closed, nothing else lost


NONSENSE: Final = {
    "no JSON": b"hello\n",
    "empty": b"\n",
    "half an object": b'{"t":"bye"\n',
    "no object": b"[1,2]\n",
    "no type": b'{"seq":2,"at":"0"}\n',
    "an unknown type": b'{"t":"teleport","seq":2,"at":"0"}\n',
    "a field of another type": b'{"t":"fence.closed","seq":"2","at":"0","window":"w"}\n',
    "a missing field": b'{"t":"fence.closed","seq":2,"at":"0"}\n',
    "a number out of range": b'{"t":"fence.closed","seq":0,"at":"0","window":"w"}\n',
    "a text that is too long": b'{"t":"fence.closed","seq":2,"at":"0","window":"%s"}\n' % (b"w" * 300),
    "broken UTF-8": b'{"t":"fence.closed","seq":2,"at":"0","window":"\xff"}\n',
    "half a surrogate pair": b'{"t":"fence.closed","seq":2,"at":"0","window":"\\ud83d"}\n',
    "NUL bytes": b"\0" * 100 + b"\n",
    "deep nesting": b'{"t":"bye","x":' + b"[" * 100_000 + b"\n",
    "random bytes": os.urandom(400).replace(b"\n", b"") + b"\n",
    "a second hello": b'{"t":"hello","seq":2,"at":"0","protocol":1,"pid":1}\n',
    "a line that is too long": b'{"t":"bye","x":"' + b"y" * wire.MAX_LINE_BYTES + b'"}\n',
    "a line without an end": b"z" * (wire.MAX_LINE_BYTES + 1),
}
"""Lines that are no message, or not the one that may come."""

TOO_LARGE: Final = {"a line that is too long", "a line without an end"}


def assert_one_line(rejected: Rejected) -> None:
    """Fit for a log line: short, and without anything that would break it."""
    assert 10 < len(rejected.text) < 500
    assert rejected.text.isprintable()


@pytest.mark.parametrize("name", NONSENSE)
async def test_bad_input_is_refused_in_one_line_and_costs_only_its_own_link(path: Path, name: str) -> None:
    async with serving(path) as stage:
        recorder = stage.recorder
        other = await stage.greeted()
        client = await stage.greeted()
        client.say(NONSENSE[name], encode(client.closed("after")), encode(client.bye()))

        rejected = await recorder.rejected()
        assert rejected.reason == ("too_large" if name in TOO_LARGE else "malformed")
        assert_one_line(rejected)
        told = await client.hear()
        assert isinstance(told, wire.Reject)
        assert told.reason == rejected.text
        assert await client.hear() is None
        assert await recorder.next() == Closed(clean=False), "what follows on nonsense was listened to"

        message = other.closed()
        other.say(message)
        assert await recorder.next() == meant(message)


@pytest.mark.parametrize("name", [name for name in NONSENSE if name != "a second hello"])
async def test_bad_input_instead_of_a_hello_is_refused_and_no_link_was_there(path: Path, name: str) -> None:
    async with serving(path) as stage:
        server, recorder = stage.server, stage.recorder
        client = await stage.connect()
        client.say(NONSENSE[name])
        rejected = await recorder.rejected()
        assert_one_line(rejected)
        assert isinstance(await client.hear(), wire.Reject)
        await until(lambda: not server._tasks)
    assert recorder.told.empty()
    assert recorder.sessions == []


async def test_a_first_message_that_is_no_hello_is_refused(path: Path) -> None:
    async with serving(path) as stage:
        recorder = stage.recorder
        client = await stage.connect()
        client.say(client.closed(), client.hello())
        assert await recorder.next() == Rejected("no_hello", "the first message is no hello")
        assert await client.hear() == wire.Reject(
            protocol=wire.PROTOCOL, reason="the first message is no hello", code="no_hello"
        )
        assert await client.hear() is None
    assert recorder.sessions == []


@pytest.mark.parametrize("protocol", [0, wire.PROTOCOL + 1, -1, 1 << 40])
async def test_another_protocol_is_answered_with_a_sentence_that_says_what_to_do(path: Path, protocol: int) -> None:
    async with serving(path) as stage:
        recorder = stage.recorder
        client = await stage.connect()
        client.say(client.hello(protocol=protocol))
        told = await client.hear()
        assert isinstance(told, wire.Reject)
        assert told.protocol == wire.PROTOCOL
        assert f"protocol {protocol}" in told.reason
        assert ("restart the gateway" if protocol < wire.PROTOCOL else "update openclaw-sidecar") in told.reason
        assert await recorder.next() == Rejected("protocol_version", told.reason)
        assert await client.hear() is None
    assert recorder.sessions == []


@pytest.mark.parametrize(("newest", "oldest"), [(wire.PROTOCOL, 0), (wire.PROTOCOL, 1), (7, wire.PROTOCOL), (7, 1)])
async def test_both_speak_the_newest_protocol_that_both_know(path: Path, newest: int, oldest: int) -> None:
    async with serving(path) as stage:
        client = await stage.connect()
        client.say(client.hello(protocol=newest, oldest=oldest))
        welcome = await client.hear()
        assert isinstance(welcome, wire.Welcome)
        assert welcome.protocol == wire.PROTOCOL


async def test_a_preload_that_has_left_this_protocol_behind_is_refused(path: Path) -> None:
    async with serving(path) as stage:
        client = await stage.connect()
        client.say(client.hello(protocol=wire.PROTOCOL + 2, oldest=wire.PROTOCOL + 1))
        assert isinstance(await client.hear(), wire.Reject)


async def test_a_report_that_can_not_be_understood_is_refused_and_missing(path: Path) -> None:
    """A report that is left out makes the account unknown, like one that never came (rule 5); the link goes on."""
    async with greeted(path) as (recorder, client):
        client.say(_change(client, "teleport"))
        assert await recorder.next() == Rejected("malformed", "unknown operation 'teleport' of change c1")
        assert await recorder.next() == Gap(1)
        message = client.closed()
        client.say(message)
        assert await recorder.next() == meant(message)
        assert recorder.sessions[0].gaps == 1


async def test_a_connection_that_says_nothing_disturbs_nobody(path: Path) -> None:
    async with serving(path) as stage:
        server, recorder = stage.server, stage.recorder
        silent = [await stage.connect() for _ in range(20)]
        client = await stage.greeted()
        client.say(client.closed())
        await recorder.next()
        for end in silent:
            await end.hang_up()
        await until(lambda: len(server._tasks) == 1)
    assert await recorder.next() == Closed(clean=False)


# Order


@pytest.mark.parametrize("missing", [1, 2, 1000])
async def test_a_hole_in_the_sequence_is_a_gap(path: Path, missing: int) -> None:
    async with greeted(path) as (recorder, client):
        messages = client.closed("a"), client.closed("b", skip=missing), client.closed("c")
        client.say(*messages)
        assert [await recorder.next() for _ in range(4)] == [
            meant(messages[0]),
            Gap(missing),
            *map(meant, messages[1:]),
        ]


async def test_a_number_that_comes_twice_is_a_gap(path: Path) -> None:
    async with greeted(path) as (recorder, client):
        message = client.closed()
        client.say(message, message)
        assert [await recorder.next() for _ in range(3)] == [meant(message), Gap(1), meant(message)]


async def test_messages_that_the_gateway_had_to_drop_are_a_gap(path: Path) -> None:
    async with greeted(path, lost=2) as (recorder, client):
        client.say(wire.Lost(seq=client.seq(), at=AT, count=7))
        assert await recorder.next() == Gap(7)
        assert recorder.sessions[0].lost == 9


# Questions to the gateway


async def test_a_sync_is_answered_when_all_ahead_of_it_has_been_taken_in(path: Path) -> None:
    async with greeted(path) as (recorder, client):
        [session] = recorder.sessions
        asked = asyncio.create_task(session.sync(5))
        question = await client.hear()
        assert isinstance(question, wire.Sync)
        message = client.closed()
        client.say(message, wire.Synced(seq=client.seq(), at=AT, sync=question.sync))
        assert await asked is True
        assert recorder.told.get_nowait()[1] == meant(message)


async def test_syncs_are_told_apart(path: Path) -> None:
    async with greeted(path) as (recorder, client):
        [session] = recorder.sessions
        first = asyncio.create_task(session.sync(5))
        second = asyncio.create_task(session.sync(5))
        questions = [await client.hear(), await client.hear()]
        answers = [wire.Synced(seq=client.seq(), at=AT, sync=q.sync) for q in questions if isinstance(q, wire.Sync)]
        assert len({a.sync for a in answers}) == 2
        client.say(answers[0])
        assert await first is True
        assert not second.done()
        client.say(answers[1])
        assert await second is True


async def test_a_sync_that_is_not_answered_ends_in_time_and_a_late_answer_harms_nothing(path: Path) -> None:
    async with greeted(path) as (recorder, client):
        [session] = recorder.sessions
        started = asyncio.get_running_loop().time()
        assert await session.sync(BOUND_SECONDS) is False
        assert asyncio.get_running_loop().time() - started >= BOUND_SECONDS
        question = await client.hear()
        assert isinstance(question, wire.Sync)
        late = wire.Synced(seq=client.seq(), at=AT, sync=question.sync)
        message = client.closed()
        client.say(late, message)
        assert await recorder.next() == meant(message)


async def test_a_sync_ends_with_its_link(path: Path) -> None:
    async with greeted(path) as (recorder, client):
        [session] = recorder.sessions
        asked = asyncio.create_task(session.sync(60))
        await client.hear()
        await client.hang_up()
        assert await asked is False
        assert await session.sync(60) is False, "a link that is gone was waited for"


async def test_a_gateway_that_does_not_read_its_commands_is_cut_off(path: Path) -> None:
    async with serving(path) as stage:
        recorder = stage.recorder
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(path))
            deaf.sendall(encode(Voice().hello()))
            await recorder.next()
            [session] = recorder.sessions
            long = Reason.of(ReasonCode.PRELOAD_REFUSED, problem="r" * 300)
            command = Refuse(link=session.name, window="w", ask="a" * 1000, verdict=Verdict.EXTERNAL, reason=long)
            sent = 0
            while session.command(command):
                sent += 1
            assert await recorder.next() == Closed(clean=False)
            assert MAX_UNSENT_BYTES < sent * len(encode(message_of(command))) < 2 * MAX_UNSENT_BYTES
            assert session.command(command) is False


# Its end


async def test_a_goodbye_makes_a_clean_end(path: Path) -> None:
    async with serving(path) as stage:
        client = await stage.greeted()
        [session] = stage.links.open_sessions()
        assert session.pid == os.getpid()
        client.say(client.bye())
        await client.hang_up()
        assert await stage.recorder.rest() == [Closed(clean=True)]
        assert stage.links.open_sessions() == ()


async def test_an_end_without_a_goodbye_is_none(path: Path) -> None:
    async with greeted(path) as (recorder, client):
        await client.hang_up()
        assert await recorder.rest() == [Closed(clean=False)]


async def test_half_a_message_at_the_end_is_no_message(path: Path) -> None:
    async with greeted(path) as (recorder, client):
        client.say(encode(client.closed())[:-1])
        await client.hang_up()
        assert await recorder.rest() == [Closed(clean=False)]


async def test_a_gateway_that_speaks_and_goes_at_once_is_heard_to_its_end(path: Path) -> None:
    """It is gone before it can be welcomed: a short command, or a worker thread of the gateway."""
    async with serving(path) as stage:
        recorder = stage.recorder
        with socket.socket(socket.AF_UNIX) as short:
            short.connect(str(path))
            voice = Voice()
            hello, said = voice.hello(), [voice.closed(f"w{n}") for n in range(1500)]
            rest: list[wire.GatewayMessage] = [*said, voice.bye()]
            short.sendall(b"".join(encode(m) for m in (hello, *rest)))  # more than is read in one piece
        assert await recorder.rest() == [hello, *map(meant, said), Closed(clean=True)]


# Co-tenants outside of OpenClaw


WRITER: Final = wire.WireWriter(kind="user_turn", name="me", run="r1")


def _change(voice: Voice, op: str = "append") -> wire.Changed:
    return wire.Changed(
        seq=voice.seq(), at=AT, file="/s/sessions/a.jsonl", change="c1", phase="done", op=op, writer=WRITER
    )


async def test_an_outside_cotenant_is_who_it_declared_itself_to_be_and_part_of_no_run(path: Path) -> None:
    async with greeted(path, role=Role.COTENANT, name="backup") as (recorder, client):
        client.say(_change(client))
        report = await recorder.next()
        assert isinstance(report, ev.FileChanged)
        writer = report.change.writer
    assert (writer.kind, writer.name, writer.run_id) == (WriterKind.DECLARED, "backup", "")
    assert (writer.pid, writer.uid, writer.exe) == (os.getpid(), os.geteuid(), EXECUTABLE)


async def test_an_outside_cotenant_without_a_name_is_refused(path: Path) -> None:
    async with serving(path) as stage:
        client = await stage.connect()
        client.say(client.hello(role=Role.COTENANT))
        assert isinstance(await client.hear(), wire.Reject)
        rejected = await stage.recorder.rejected()
        assert rejected.text.endswith("is a co-tenant without a name")


@pytest.mark.parametrize("name", ["a b", "-a", "a\n", "ü", "a" * 65, "{"])
async def test_a_name_that_is_no_word_is_refused(path: Path, name: str) -> None:
    async with serving(path) as stage:
        client = await stage.connect()
        client.say(client.hello(role=Role.COTENANT, name=name))
        rejected = await stage.recorder.rejected()
        assert rejected.reason == "malformed"


async def test_an_outside_cotenant_can_not_speak_as_a_gateway(path: Path) -> None:
    async with greeted(path, role=Role.COTENANT, name="backup") as (recorder, client):
        client.say(client.closed())
        rejected = await recorder.rejected()
        assert rejected.reason == "not_a_gateway"
        assert await recorder.next() == Closed(clean=False)


async def test_an_outside_cotenant_can_not_remove_a_session(path: Path) -> None:
    async with greeted(path, role=Role.COTENANT, name="backup") as (recorder, client):
        client.say(_change(client, "remove"))
        rejected = await recorder.rejected()
        assert "may not remove" in rejected.text
        assert await recorder.next() == Gap(1)


async def test_a_goodbye_answers_a_sync(path: Path) -> None:
    """Whoever has said goodbye has said everything: a gateway's question does not wait for it in vain."""
    async with greeted(path) as (recorder, client):
        [session] = recorder.sessions
        asked = asyncio.create_task(session.sync(60))
        await client.hear()
        client.say(client.bye())
        await client.hang_up()
        assert await asked is True


async def test_a_cotenant_is_heard_without_its_help(path: Path) -> None:
    """It may be stopped or slow: what it announced is here, and nobody's turn depends on its answer."""
    async with greeted(path, role=Role.COTENANT, name="backup") as (recorder, client):
        [session] = recorder.sessions
        said = [_change(client) for _ in range(3000)]  # more than is read in one piece
        client.say(*said)
        await client.writer.drain()
        assert await session.sync(5) is True
        assert session.messages == 1 + len(said)
        assert await session.sync(5) is True


async def test_each_message_is_counted_once_however_many_arrive_at_a_time(path: Path) -> None:
    async with greeted(path) as (recorder, client):
        client.say(*(client.closed(f"w{number}") for number in range(500)))
        client.say(client.closed("alone"))
        client.say(client.bye())
        await client.hang_up()
        await recorder.rest()
        assert recorder.read == recorder.sessions[0].messages == 1 + 502


async def test_after_a_goodbye_there_is_nothing_to_wait_for(path: Path) -> None:
    async with greeted(path) as (recorder, client):
        [session] = recorder.sessions
        client.say(client.bye())
        await client.hang_up()
        assert await recorder.rest() == [Closed(clean=True)]
        assert await session.sync(60) is True


async def test_a_link_that_says_much_leaves_others_their_turn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.link.session.TURN_SECONDS", 0.0)
    async with serving(path) as stage:
        stage.recorder.waits = False
        loud, quiet = await stage.greeted(), await stage.greeted()
        loud.say(*(loud.closed(f"w{number}") for number in range(2000)))
        last = quiet.closed("quiet")
        quiet.say(last)
        told = [await stage.recorder.next() for _ in range(2001)]
        assert told.index(meant(last)) < 1000, "it waited until the other had said everything"


async def test_what_a_link_has_not_taken_in_yet_is_its_backlog(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.link.session.TURN_SECONDS", 0.0)
    async with serving(path) as stage:
        stage.recorder.waits = False
        client = await stage.greeted()
        [session] = stage.recorder.sessions
        client.say(*(client.closed(f"w{number}") for number in range(2000)))
        await stage.recorder.next()
        assert session.backlog_bytes > 1000
        await until(lambda: session.messages == 2001)
        await until(lambda: session.backlog_bytes == 0)
