"""Announcements over HTTP, made into reports. tests/e2e has a real tool, gateway and sidecar."""

import asyncio
import hashlib
import os
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.policy import parse_policy
from sidecar.config.policyedit import CotenantRule
from sidecar.config.token import make_token
from sidecar.core import events as ev
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.policy import Policy
from sidecar.intake import announcements as room
from sidecar.intake.announcements import Hooks
from sidecar.watch.reading import fingerprint_of
from sidecar.web.hooks import HookBegin, HookEnd, HookRange, HookRefused
from tests.core.kit import naming
from tests.link.running import until

OLD = b'{"type":"session","id":"s"}\n'
NOTE = b'{"type":"custom"}\n'


@dataclass
class Place:
    """A session, its hooks, and what the driver and the log were told."""

    state_dir: Path
    file: Path
    told: list[ev.Event] = field(default_factory=list)
    looks: list[ev.FingerprintChanged] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    policy: Policy = field(default_factory=lambda: naming("sync"))

    def handle(self, event: ev.Event) -> None:
        self.told.append(event)

    def refusal(self, program: Writer) -> Reason | None:
        return self.policy.refusal(program)

    def look_again(self, moved: ev.FingerprintChanged) -> None:
        self.looks.append(moved)

    def hooks(self, expiry_seconds: float = 60.0) -> Hooks:
        driver: Any = self
        token_file = self.state_dir / "hooks.token"
        return Hooks(
            driver,
            self.state_dir,
            token_file,
            lambda: 7,
            lambda code, _: self.refused.append(code),
            self.refusal,
            expiry_seconds,
        )

    @property
    def reported(self) -> list[Change]:
        return [told.change for told in self.changes if isinstance(told.change, Change)]

    @property
    def changes(self) -> list[ev.FileChanged]:
        return [event for event in self.told if isinstance(event, ev.FileChanged)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    sessions = tmp_path / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    file = sessions / "abc.jsonl"
    file.write_bytes(OLD)
    return Place(tmp_path, file)


def _begin(session: str = "abc", pid: int | None = None) -> HookBegin:
    return HookBegin(phase="begin", session=session, name="sync", pid=pid)


def _end(hook: str, *ranges: tuple[int, int, str]) -> HookEnd:
    return HookEnd(
        phase="end", hook=hook, ranges=[HookRange(offset=o, length=n, sha256=digest) for o, n, digest in ranges]
    )


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_a_range_is_a_declared_write_with_the_files_own_digest(place: Place) -> None:
    hooks = place.hooks()
    before = fingerprint_of(place.file)
    begun = hooks.begin(_begin(pid=os.getpid()))
    place.file.write_bytes(OLD + NOTE)
    answer = hooks.end(_end(begun["hook"], (len(OLD), len(NOTE), "")))

    first, last = place.reported
    assert (first.finished, first.before, first.writer) == (False, before, last.writer)
    assert (last.change_id, last.link, last.operation) == (first.change_id, first.link, Operation.APPEND)
    assert (last.offset, last.length, last.sha256) == (len(OLD), len(NOTE), _sha(NOTE))
    assert (last.before, last.after) == (before, fingerprint_of(place.file))
    assert (last.writer.kind, last.writer.name, last.writer.run_id) == (WriterKind.DECLARED, "sync", "")
    assert (last.writer.pid, last.writer.token) == (os.getpid(), True)
    assert (last.writer.uid, last.writer.exe) == (-1, ""), "it only says that this process is its own"
    assert answer["ranges"] == [{"offset": len(OLD), "length": len(NOTE), "sha256": _sha(NOTE)}]
    assert [moved.fingerprint for moved in place.looks] == [fingerprint_of(place.file)]


@pytest.mark.parametrize(
    "rule",
    [
        CotenantRule(name="another"),
        CotenantRule(name="sync", executables=("**",)),
        CotenantRule(name="sync", uids=(os.geteuid(),)),
    ],
    ids=["name", "executable", "user"],
)
async def test_one_that_the_policy_does_not_name_is_refused_with_the_rule_to_add(
    place: Place, rule: CotenantRule
) -> None:
    """The process that it names may be anybody's: no executable and no user is taken from that."""
    place.policy = parse_policy(Path("policy.toml"), rule.text.encode())
    with pytest.raises(HookRefused) as refused:
        place.hooks().begin(_begin(pid=os.getpid()))
    assert refused.value.status is HTTPStatus.FORBIDDEN
    assert refused.value.detail.endswith(CotenantRule(name="sync").text)
    assert place.told == []


async def test_one_that_the_policy_does_not_name_any_more_is_given_up(place: Place) -> None:
    hooks = place.hooks()
    begun = hooks.begin(_begin())
    hooks.policy_changed()
    assert place.refused == []
    place.policy = Policy()
    hooks.policy_changed()
    assert place.refused == ["hook_refused"]
    assert isinstance(place.told[-1], ev.LinkLost)
    with pytest.raises(HookRefused):
        hooks.end(_end(begun["hook"], (len(OLD), 1, "")))


async def test_several_ranges_are_writes_in_order(place: Place) -> None:
    hooks = place.hooks()
    begun = hooks.begin(_begin())
    place.file.write_bytes(OLD + NOTE + b"foreign\n" + NOTE)
    size = len(OLD)
    hooks.end(_end(begun["hook"], (size, len(NOTE), ""), (size + len(NOTE) + 8, len(NOTE), _sha(NOTE))))

    _, one, two = place.reported
    assert one.precedes(two)
    assert (one.offset, two.offset) == (size, size + len(NOTE) + 8)


async def test_nothing_named_is_nothing_written(place: Place) -> None:
    hooks = place.hooks()
    begun = hooks.begin(_begin())
    place.file.write_bytes(OLD + NOTE)
    hooks.end(_end(begun["hook"]))

    last = place.changes[-1].change
    assert (last.finished, last.operation, last.length) == (True, Operation.METADATA, 0)


async def test_a_whole_new_file_is_a_rewrite_if_it_says_what_is_in_it(place: Place) -> None:
    hooks = place.hooks()
    begun = hooks.begin(_begin())
    place.file.write_bytes(NOTE)
    hooks.end(_end(begun["hook"], (0, len(NOTE), _sha(NOTE))))

    assert place.changes[-1].change.operation is Operation.REWRITE


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        ([(len(OLD), len(NOTE) + 1, "")], "and the file has"),
        ([(len(OLD), len(NOTE), "0" * 64)], "another digest"),
        ([(len(OLD), 9, ""), (len(OLD) + 4, 4, "")], "inside or before"),
        ([(len(OLD) + 9, 4, ""), (len(OLD), 9, "")], "inside or before"),
        ([(0, len(OLD), "")], "replaces old bytes"),
        ([(len(OLD) - 1, 3, "")], "replaces old bytes"),
    ],
)
async def test_an_announcement_that_is_wrong_says_nothing(
    place: Place, ranges: list[tuple[int, int, str]], why: str
) -> None:
    hooks = place.hooks()
    begun = hooks.begin(_begin())
    place.file.write_bytes(OLD + NOTE)
    with pytest.raises(HookRefused, match=why) as caught:
        hooks.end(_end(begun["hook"], *ranges))

    assert caught.value.status is HTTPStatus.CONFLICT
    last = place.changes[-1].change
    assert (last.finished, last.operation) == (True, Operation.METADATA)
    with pytest.raises(HookRefused, match="no hook"):
        hooks.end(_end(begun["hook"]))


async def test_a_file_that_is_gone_holds_nothing(place: Place) -> None:
    hooks = place.hooks()
    begun = hooks.begin(_begin())
    place.file.unlink()
    with pytest.raises(HookRefused, match="it is gone"):
        hooks.end(_end(begun["hook"], (0, 1, "")))
    assert place.changes[-1].change.after == Fingerprint.absent()


async def test_a_begin_without_an_end_leaves_custody_of_the_file_unknown(place: Place) -> None:
    hooks = place.hooks(expiry_seconds=0.02)
    begun = hooks.begin(_begin())
    await until(lambda: place.refused)

    [lost] = [event for event in place.told if isinstance(event, ev.LinkLost)]
    assert lost.link == place.changes[0].change.link
    assert place.refused == ["hook_refused"]
    with pytest.raises(HookRefused, match="not any more"):
        hooks.end(_end(begun["hook"]))


async def test_an_end_in_time_does_not_expire(place: Place) -> None:
    hooks = place.hooks(expiry_seconds=0.02)
    hooks.end(_end(hooks.begin(_begin())["hook"]))
    await asyncio.sleep(0.05)
    assert place.refused == []


@pytest.mark.parametrize("session", ["nope", "../../../etc/passwd", "/etc/passwd", "abc.trajectory.jsonl", "\0"])
async def test_a_session_that_is_none_is_refused(place: Place, session: str) -> None:
    with pytest.raises(HookRefused) as caught:
        place.hooks().begin(_begin(session))
    assert caught.value.status is HTTPStatus.BAD_REQUEST
    assert place.told == []


async def test_a_process_that_is_none_is_refused(place: Place) -> None:
    with pytest.raises(HookRefused, match="no process"):
        place.hooks().begin(_begin(pid=(1 << 31) - 1))


async def test_hooks_that_never_end_do_not_pile_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_OPEN", 2)
    hooks = place.hooks()
    first = hooks.begin(_begin())["hook"]
    hooks.begin(_begin())
    with pytest.raises(HookRefused) as caught:
        hooks.begin(_begin())
    assert caught.value.status is HTTPStatus.TOO_MANY_REQUESTS
    hooks.end(_end(first))
    hooks.begin(_begin())
    hooks.stop()


async def test_the_token_is_read_anew_each_time(place: Place) -> None:
    hooks = place.hooks()
    with pytest.raises(HookRefused, match="`openclaw-sidecar hooks token` makes one") as caught:
        hooks.token()
    assert caught.value.status is HTTPStatus.FORBIDDEN
    first = make_token(place.state_dir / "hooks.token")
    assert hooks.token() == first
    assert hooks.token() != make_token(place.state_dir / "hooks.token")
