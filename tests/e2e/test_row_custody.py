"""Custody of sessions that are rows of a database: whose each row is, and which rows a stranger has changed."""

import asyncio
import json
import subprocess
import sys
from typing import Any, Final

import pytest

from sidecar.demo.companion import command
from sidecar.demo.model import ModelCall
from tests.e2e.row_gateway import TOLD_SECONDS, VERSIONS, Trio


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


async def asked(trio: Trio, *arguments: str) -> tuple[int, Any]:
    """The command, as a person runs it, and its JSON."""
    process = await asyncio.create_subprocess_exec(
        *(str(command()), *arguments, "--json", "--data-dir", str(trio.sidecar.data_dir)),
        *("--state-dir", str(trio.gateway.state_dir)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _err = await process.communicate()
    return process.returncode or 0, json.loads(out)


async def test_each_row_has_its_writer_and_nothing_differs(trio: Trio, session_key: str) -> None:
    for number in range(2):
        assert (await trio.turn(session_key, f"question {number}")).answered
    await trio.type_commands(session_key, "/help")
    code, body = await asked(trio, "verify", trio.session_id(session_key))
    assert (code, body["verified"]["differences"], body["gaps"]) == (0, [], [])
    code, by_key = await asked(trio, "custody", session_key)
    assert (code, by_key["file"], by_key["unit"]) == (0, trio.transcript(session_key), "rows")
    assert by_key["known_rows"] == by_key["size"] == len(trio.history(session_key))
    kinds = [r["writer"]["kind"] for r in by_key["ranges"]]
    assert kinds.count("user_turn") >= 4, "two inputs and two answers"
    assert [r["writer"]["name"] for r in by_key["ranges"]][-2:] == ["help", "help"]


EDIT: Final = (
    "UPDATE transcript_events SET event_json = replace(event_json, 'first', 'FIRST')"
    " WHERE session_id = ?1 AND event_json LIKE '%the first question%'"
)
DELETE: Final = (
    "DELETE FROM transcript_events WHERE session_id = ?1 AND seq ="
    " (SELECT min(seq) FROM transcript_events WHERE session_id = ?1 AND event_json LIKE '%the first question%')"
)
DEEDS: Final = {
    "edited": (EDIT, "edited"),
    "deleted": (DELETE, "deleted"),
}
STRANGER: Final = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
connection.create_function("octet_length", 1, lambda value: value and len(value.encode()), deterministic=True)
connection.execute(sys.argv[2], (sys.argv[3],))
print(flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(("statement", "deed"), DEEDS.values(), ids=DEEDS)
async def test_verify_names_the_rows_that_a_stranger_changed(
    trio: Trio, session_key: str, statement: str, deed: str
) -> None:
    assert (await trio.turn(session_key, "the first question")).answered
    pids = []

    async def meanwhile(_call: ModelCall) -> None:
        name, session_id = trio.transcript(session_key), trio.session_id(session_key)
        with subprocess.Popen(  # noqa: ASYNC220 - it is waited for by what it did
            (sys.executable, "-c", STRANGER, trio.database_of(session_key), statement, session_id),
            stdin=subprocess.PIPE,
        ) as stranger:
            pids.append(stranger.pid)
            async with asyncio.timeout(TOLD_SECONDS):
                while not any(i["session_file"] == name for i in await trio.sidecar.incidents()):  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.05)

    await trio.turn(session_key, "the second question", meanwhile)
    incident = await trio.incident(session_key)
    assert (incident["verdict"], incident["evidence"], incident["recovery"]["outcome"]) == (
        "external",
        "bytes",
        "refused",
    )
    assert [page["about"] for page in incident["pages"]] == ["takeover"]
    assert {found["pid"] for found in incident["unexplained"]} == set(pids)

    code, body = await asked(trio, "verify", trio.transcript(session_key))
    assert code == 1
    named = [seq for d in body["verified"]["differences"] for seq in range(d["offset"], d["offset"] + d["length"])]
    assert {d["deed"] for d in body["verified"]["differences"]} == {deed}
    assert named == [found["offset"] for found in incident["unexplained"]]
    assert len(named) == 1

    code, exported = await asked(trio, "export", incident["id"])
    assert (code, exported["replays"], exported["why_not"]) == (0, True, "")
    for secret in ("question", session_key, trio.session_id(session_key), str(trio.gateway.state_dir)):
        assert secret not in json.dumps(exported["recording"])
