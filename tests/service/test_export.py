"""From a window of a real sidecar to a file that another person replays."""

import asyncio
import json
import os

import pytest

from sidecar.demo.companion import Companion, command
from sidecar.wire import messages as wire
from tests.driver.kit import foreign_append
from tests.service.kit import Place


def by_user(place: Place) -> Companion:
    """A sidecar that believes links by a rule without paths, which an export without names keeps."""
    policy = place.root / "policy.toml"
    rule = f'[[rule]]\nname = "user"\nuids = [{os.getuid()}]\nunverified = true\nmay = "rewrite"\n'
    policy.write_text(rule, encoding="utf-8")
    return Companion(place.root / "state", place.root / "sidecar", place.root / "s.sock", ("--policy", str(policy)))


async def run(place: Place, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(str(command()), *arguments),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(place.root), "LANG": "C.UTF-8"},
    )
    out, _err = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.mark.parametrize("foreign", [False, True], ids=["a co-tenant's write", "a foreign write"])
async def test_an_incident_is_exported_without_names_and_comes_out_the_same(place: Place, *, foreign: bool) -> None:
    async with by_user(place) as sidecar:
        gateway = await place.gateway(sidecar)
        fence = gateway.fence(place.file)
        await sidecar.wait_for(lambda status: bool(status["windows"]) and not status["custody_unknown"])
        if foreign:
            foreign_append(place.file)
        else:
            gateway.append(place.file, "5eed", text="note")
        gateway.ask(place.file, fence)
        answer = await gateway.answer()
        if foreign:
            assert isinstance(answer, wire.Refuse), answer
            gateway.trip(place.file, fence)
        else:
            assert isinstance(answer, wire.Approve), answer
            gateway.applied(place.file, fence, "5eed")
            gateway.fence(place.file)
        gateway.end(takeover=foreign)
        incident = await sidecar.closed_incident(place.file.name)
        assert incident["verdict"] == ("external" if foreign else "co_tenant")
        data = ("--data-dir", str(sidecar.data_dir))
        code, out = await run(place, "export", *data, incident["id"])
        assert code == 0
        body = json.loads(out)
        assert body["replays"], body["why_not"]
        for secret in (str(place.root), place.file.name, "note", "foreign"):
            assert secret not in json.dumps(body["recording"])
        path = place.root / "case.json"
        path.write_text(out, encoding="utf-8")
        code, out = await run(place, "replay", "--json", str(path))
        assert (code, json.loads(out)["verdict"]) == (0, incident["verdict"])
        assert (await run(place, "export", *data, "nothing"))[0] == 1
        await gateway.hang_up()
