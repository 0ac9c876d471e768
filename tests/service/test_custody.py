"""Who wrote which bytes: a real sidecar asked with the real command, over restarts; gateways are played on the link."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.wire import messages as wire
from tests.driver.kit import FOREIGN, HEADER, RUN, foreign_append, record
from tests.link.kit import AT
from tests.service.kit import Place

KEY = "agent:main:main"


def writers(body: Any) -> list[tuple[int, int, str | None, str]]:  # noqa: ANN401 - a JSON value
    return [
        (r["offset"], r["length"], r["writer"] and f"{r['writer']['kind']} {r['writer']['name']}", r["grade"])
        for r in body["ranges"]
    ]


def held(body: Any, file: Path) -> bool:  # noqa: ANN401 - a JSON value
    """The ranges cover the file, and their digests are those of its bytes."""
    data, here = file.read_bytes(), 0
    for r in body["ranges"]:
        assert r["offset"] == here
        here += r["length"]
        assert hashlib.sha256(data[r["offset"] : here]).hexdigest() == r["sha256"]
    return here == len(data)


NOTE, MORE = len(record("note", "first")), len(record("more", "note"))
OLD = len(HEADER)


async def test_each_range_has_its_writer_before_any_fence_and_a_foreign_byte_is_found_by_offset(place: Place) -> None:
    async with place.companion() as sidecar:
        gateway = await place.gateway(sidecar)
        gateway.append(place.file, "note")
        gateway.append(place.file, "more", "note")
        code, body = await place.ask("custody", "0a1b")
        assert code == 0
        assert held(body, place.file)
        assert writers(body) == [
            (0, OLD, None, "none"),
            (OLD, NOTE, "cron digest", "bytes"),
            (OLD + NOTE, MORE, "cron digest", "bytes"),
        ]
        assert (await place.ask("verify", str(place.file)))[0] == 0

        foreign_append(place.file)
        code, body = await place.ask("verify", "0a1b.jsonl")
        assert code == 1
        assert body["verified"]["offset"] == OLD + NOTE + MORE
        assert (await place.ask("verify", "nothing"))[0] == 2
        await gateway.hang_up()


async def test_a_stranger_between_two_turns_is_no_incident_the_next_fence_takes_it_in_and_custody_shows_it(
    place: Place,
) -> None:
    """A limit that docs/alerts.md names: without a window no turn is at stake, and nobody is paged."""
    async with place.companion() as sidecar:
        gateway = await place.gateway(sidecar)
        gateway.append(place.file, "note")
        assert (await place.ask("verify", "0a1b"))[0] == 0

        foreign_append(place.file)
        assert (await place.ask("verify", "0a1b"))[0] == 1, "verify tells of it until the next fence"
        fence = gateway.fence(place.file)
        assert (await place.ask("verify", "0a1b"))[0] == 0
        gateway.append(place.file, "more", "note")
        gateway.ask(place.file, fence)
        assert isinstance(await gateway.answer(), wire.Approve)

        code, body = await place.ask("custody", "0a1b")
        assert code == 0
        assert writers(body) == [
            (0, OLD, None, "none"),
            (OLD, NOTE, "cron digest", "bytes"),
            (OLD + NOTE, len(FOREIGN), None, "none"),
            (OLD + NOTE + len(FOREIGN), MORE, "cron digest", "bytes"),
        ]
        _, found = await place.ask("incidents")
        assert [incident["verdict"] for incident in found["incidents"]] == ["co_tenant"]
        await gateway.hang_up()


async def test_a_session_is_found_by_its_key_and_by_the_hash_that_incidents_show(place: Place) -> None:
    hashed = hashlib.sha256(KEY.encode()).hexdigest()[:16]
    async with place.companion() as sidecar:
        gateway = await place.gateway(sidecar)
        fence = Fingerprint.parse(gateway.fence(place.file))
        run = wire.WireRun(run=RUN.run, kind=RUN.kind, session=hashed)
        gateway.say(
            wire.FenceSet(seq=gateway.seq(), at=AT, window="w1", file=str(place.file), fence=fence.encode(), run=run)
        )
        for name in (KEY, hashed):
            code, body = await place.ask("custody", name)
            assert (code, body["file"]) == (0, str(place.file))
        await gateway.hang_up()


@pytest.mark.parametrize("meanwhile", ["nothing", "a foreign byte", "a foreign byte in the middle"])
async def test_ranges_keep_their_writers_over_a_restart_and_what_was_not_witnessed_has_none(
    place: Place, meanwhile: str
) -> None:
    async with place.companion() as sidecar:
        gateway = await place.gateway(sidecar)
        gateway.append(place.file, "note")
        assert (await place.ask("verify", "0a1b"))[0] == 0
        gateway.say(wire.Bye(seq=gateway.seq(), at=AT))
        await gateway.hang_up()
    if meanwhile == "a foreign byte":
        foreign_append(place.file)
    if meanwhile == "a foreign byte in the middle":
        data = place.file.read_bytes()
        place.file.write_bytes(b"[" + data[1:])
    same = meanwhile == "nothing"
    end = [] if meanwhile != "a foreign byte" else [(OLD + NOTE, len(FOREIGN), None, "none")]
    ranges = [(0, OLD, None, "none"), (OLD, NOTE, "cron digest", "bytes"), *end]
    for running in (False, True):
        sidecar = place.companion()
        if running:
            await sidecar.start()
        code, body = await place.ask("verify", "0a1b")
        assert code == int(not same)
        assert body["watched"] is running
        offset = OLD + NOTE if meanwhile == "a foreign byte" else 0
        assert body["verified"]["offset"] == (None if same else offset)
        code, body = await place.ask("custody", "0a1b")
        assert code == 0
        assert held(body, place.file)
        assert writers(body) == ranges
        (gap,) = body["gaps"]
        assert "sidecar" in gap["reason"]
        await sidecar.stop()


async def test_custody_goes_on_after_a_restart_and_says_how_long_nobody_watched(place: Place) -> None:
    for name in ("note", "more"):
        async with place.companion() as sidecar:
            gateway = await place.gateway(sidecar)
            gateway.append(place.file, name)
            gateway.fence(place.file)
            code, body = await place.ask("verify", "0a1b")
            assert code == 0, body
            code, body = await place.ask("custody", "0a1b")
            await gateway.hang_up()
    assert writers(body) == [
        (0, OLD, None, "none"),
        (OLD, NOTE, "cron digest", "bytes"),
        (OLD + NOTE, len(record("more", "first")), "cron digest", "bytes"),
    ]
    assert [g["to"] is not None and g["seconds"] > 0 for g in body["gaps"]] == [True]
