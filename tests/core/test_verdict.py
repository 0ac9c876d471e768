"""The verdict table of the design, row by row, and rule 1 as a property over any mixture of writes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.custody.files.account import FileAccount
from sidecar.core.custody.files.manifest import Manifest
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import BytesContent, Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.span import Span
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.policy import Policy, Unchanged
from sidecar.core.verdict.judge import Judgement, Verdict
from sidecar.words import sentence
from tests.core.kit import (
    CHANNEL,
    CRON,
    HEARTBEAT,
    LINK,
    MISSING,
    OTHER_LINK,
    OWN,
    RUN,
    STRANGER,
    Disk,
    Evidence,
    digest,
    judge,
    only,
    said,
)

POLICY: Final = Policy()


@dataclass
class Scene:
    """A fence, and what happens to the file behind it; known writers report, foreign ones don't."""

    disk: Disk = field(default_factory=Disk)
    changes: list[Change] = field(default_factory=list)
    ghost: bytes = b""
    """What the known writes alone would have left."""

    def __post_init__(self) -> None:
        self.ghost = self.disk.data
        self.fence = self.disk.fingerprint
        self.trusted = Manifest.baseline(BytesContent(self.disk.data))

    def report(
        self,
        operation: Operation,
        writer: Writer,
        data: bytes,
        before: Fingerprint,
        *,
        offset: int = -1,
        length: int | None = None,
        under_way: bool = False,
    ) -> None:
        """One call that has just been made, or is under way."""
        number = 2 * len(self.changes) + 1
        self.changes.append(
            Change(
                change_id=f"c{number}",
                operation=operation,
                writer=writer,
                at_ns=number,
                length=len(data) if length is None else length,
                sha256=digest(data),
                offset=offset,
                before=before,
                after=None if under_way else self.disk.fingerprint,
                link=LINK,
                began=number,
                ended=None if under_way else number + 1,
            )
        )

    def append(self, writer: Writer, data: bytes = b"record\n") -> None:
        before = self.disk.fingerprint
        self.disk.append(data)
        self.ghost += data
        self.report(Operation.APPEND, writer, data, before, offset=before.size)

    def rewrite(self, writer: Writer, data: bytes) -> None:
        before = self.disk.fingerprint
        self.disk.replace(data)
        self.ghost = data
        self.report(Operation.REWRITE, writer, data, before, offset=0)

    def copy(self, writer: Writer) -> None:
        """Write anew what is there, whoever brought it in."""
        before = self.disk.fingerprint
        self.disk.replace(self.disk.data, self.disk.foreign)
        self.report(Operation.REWRITE, writer, self.disk.data, before, offset=0)

    def truncate(self, writer: Writer, size: int) -> None:
        before = self.disk.fingerprint
        self.disk.truncate(size)
        self.ghost = self.ghost[:size]
        self.report(Operation.TRUNCATE, writer, b"", before, length=size)

    def overwrite(self, writer: Writer, offset: int, data: bytes) -> None:
        before = self.disk.fingerprint
        self.disk.overwrite(offset, data)
        self.ghost = self.ghost[:offset] + data + self.ghost[offset + len(data) :]
        self.report(Operation.WRITE, writer, data, before, offset=offset)

    def remove(self, writer: Writer) -> None:
        before = self.disk.fingerprint
        self.disk.remove()
        self.ghost = b""
        self.report(Operation.REMOVE, writer, b"", before)

    def touch(self, writer: Writer) -> None:
        before = self.disk.fingerprint
        self.disk.touch()
        self.report(Operation.METADATA, writer, b"", before)

    def evidence(self, *, can_reload: bool = True, broken: Reason | None = None, run_id: str = RUN.run_id) -> Evidence:
        return Evidence(
            run_id=run_id,
            account=FileAccount(self.trusted, self.fence, 1000, tuple(self.changes), broken=broken),
            snapshot=self.disk.snapshot,
            can_reload=can_reload,
        )

    def judge(self, policy: Policy = POLICY, *, can_reload: bool = True, broken: Reason | None = None) -> Judgement:
        return judge(self.evidence(can_reload=can_reload, broken=broken), policy)


def knowing(evidence: Evidence, **account: Any) -> Evidence:  # noqa: ANN401 - fields of an account
    """The same evidence with another account."""
    return replace(evidence, account=replace(evidence.account, **account))


# Each row: what happens behind the fence, the verdict, and whether the fence may be moved across it.
def acts(*steps: Callable[[Scene], None]) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        for step in steps:
            step(scene)

    return play


def own_append(scene: Scene) -> None:
    scene.append(OWN, b"own\n")


def cron_append(scene: Scene) -> None:
    scene.append(CRON, b"digest\n")


def channel_append(scene: Scene) -> None:
    scene.append(CHANNEL, b"hello\n")


def foreign_append(scene: Scene) -> None:
    scene.disk.append(b"FOREIGN\n", foreign=1)


def foreign_rewrite(scene: Scene) -> None:
    """Equal length, and the times set back as far as a program can."""
    fingerprint = scene.disk.fingerprint
    scene.disk.overwrite(2, b"X", foreign=1)
    assert scene.disk.fingerprint.size == fingerprint.size


def foreign_truncation(scene: Scene) -> None:
    scene.disk.truncate(3)


def foreign_removal(scene: Scene) -> None:
    scene.disk.remove()


def touch(scene: Scene) -> None:
    scene.disk.touch()


def rename_copy(scene: Scene) -> None:
    scene.disk.rename_copy()


def foreign_and_back(scene: Scene) -> None:
    """Truncated, and grown again to the same bytes."""
    data = scene.disk.data
    scene.disk.truncate(2)
    scene.disk.append(data[2:])


def own_reset(scene: Scene) -> None:
    scene.remove(OWN)


def cron_reset(scene: Scene) -> None:
    scene.remove(CRON)


def symlink(scene: Scene) -> None:
    scene.disk.regular = False
    scene.disk.rename_copy()


def chown(scene: Scene) -> None:
    scene.disk.uid = 0
    scene.disk.touch()


def own_touch(scene: Scene) -> None:
    scene.touch(OWN)


def cron_touch(scene: Scene) -> None:
    scene.touch(CRON)


def cron_compaction(scene: Scene) -> None:
    scene.rewrite(CRON, b"compacted\n")


def own_compaction(scene: Scene) -> None:
    scene.rewrite(OWN, b"compacted\n")


def cron_truncation(scene: Scene) -> None:
    scene.truncate(CRON, 0)


def cron_copy(scene: Scene) -> None:
    scene.copy(CRON)


def own_copy(scene: Scene) -> None:
    scene.copy(OWN)


TABLE: dict[str, tuple[Callable[[Scene], None], Verdict, bool]] = {
    "own: an append of the run itself": (own_append, Verdict.OWN, True),
    "own: the run wrote the whole file anew": (own_compaction, Verdict.OWN, True),
    "own: the run touched its file": (own_touch, Verdict.OWN, True),
    "co_tenant: one append": (cron_append, Verdict.CO_TENANT, True),
    "co_tenant: with the run's own": (acts(own_append, cron_append, own_append), Verdict.CO_TENANT, True),
    "co_tenant: two of them": (acts(cron_append, channel_append, cron_append), Verdict.CO_TENANT, True),
    "co_tenant: a touch by one": (cron_touch, Verdict.CO_TENANT, True),
    "co_tenant: and somebody touched the file": (acts(cron_append, touch), Verdict.CO_TENANT, True),
    "co_tenant: a compaction": (cron_compaction, Verdict.CO_TENANT, True),
    "co_tenant: a compaction and appends": (
        acts(cron_append, cron_compaction, channel_append),
        Verdict.CO_TENANT,
        True,
    ),
    "co_tenant: a truncation": (cron_truncation, Verdict.CO_TENANT, True),
    "co_tenant: the gateway removed the file and began it anew": (
        acts(cron_reset, cron_append),
        Verdict.CO_TENANT,
        True,
    ),
    "unchanged: touch": (touch, Verdict.UNCHANGED, True),
    "unchanged: tmp and rename of a copy": (rename_copy, Verdict.UNCHANGED, True),
    "unchanged: cut and grown to the same bytes": (foreign_and_back, Verdict.UNCHANGED, True),
    "reset: by the run": (own_reset, Verdict.RESET, False),
    "reset: by a co-tenant": (acts(cron_append, cron_reset), Verdict.RESET, False),
    "external: a foreign append": (foreign_append, Verdict.EXTERNAL, False),
    "external: equal size": (foreign_rewrite, Verdict.EXTERNAL, False),
    "external: a truncation": (foreign_truncation, Verdict.EXTERNAL, False),
    "external: a removal": (foreign_removal, Verdict.EXTERNAL, False),
    "external: a co-tenant, then foreign": (acts(cron_append, foreign_append), Verdict.EXTERNAL, False),
    "external: foreign, then a co-tenant": (acts(foreign_append, cron_append), Verdict.EXTERNAL, False),
    "external: foreign between co-tenants": (acts(cron_append, foreign_append, cron_append), Verdict.EXTERNAL, False),
    "external: a co-tenant's record cut off": (acts(cron_append, foreign_truncation), Verdict.EXTERNAL, False),
    "external: foreign behind a compaction": (acts(cron_compaction, foreign_append), Verdict.EXTERNAL, False),
    "external: not a regular file": (symlink, Verdict.EXTERNAL, False),
    "external: another owner": (chown, Verdict.EXTERNAL, False),
    "external: another owner, and a co-tenant": (acts(cron_append, chown), Verdict.EXTERNAL, False),
    "external: removed after the gateway had made it anew": (
        acts(own_reset, own_append, foreign_removal),
        Verdict.EXTERNAL,
        False,
    ),
    "unattributed: foreign bytes, read and written anew by a co-tenant": (
        acts(foreign_append, cron_copy),
        Verdict.UNATTRIBUTED,
        False,
    ),
    "unattributed: foreign bytes, read and written anew by the run": (
        acts(cron_append, foreign_append, own_copy),
        Verdict.UNATTRIBUTED,
        False,
    ),
}


@pytest.mark.parametrize(("act", "verdict", "may_recover"), TABLE.values(), ids=TABLE.keys())
def test_the_table_of_the_design(act: Callable[[Scene], None], verdict: Verdict, *, may_recover: bool) -> None:
    scene = Scene()
    act(scene)

    judgement = scene.judge()

    assert (judgement.verdict, judgement.may_recover) == (verdict, may_recover), judgement.reason
    assert sentence(judgement.reason)


@pytest.mark.parametrize(("act", "verdict", "may_recover"), TABLE.values(), ids=TABLE.keys())
def test_a_broken_account_is_never_judged_external_nor_recovered(
    act: Callable[[Scene], None], verdict: Verdict, *, may_recover: bool
) -> None:
    """Rule 5: with reports lost, custody is unknown, whatever the bytes look like."""
    scene = Scene()
    act(scene)

    judgement = scene.judge(broken=MISSING)

    assert not judgement.may_recover
    if verdict is Verdict.RESET:
        assert judgement.verdict is Verdict.RESET
    else:
        assert judgement.verdict is Verdict.UNATTRIBUTED
        assert MISSING in said(judgement.reason)


@pytest.mark.parametrize(("act", "verdict", "may_recover"), TABLE.values(), ids=TABLE.keys())
def test_without_a_trusted_state_nothing_is_recovered(
    act: Callable[[Scene], None], verdict: Verdict, *, may_recover: bool
) -> None:
    scene = Scene()
    act(scene)

    judgement = judge(knowing(scene.evidence(), manifest=None), POLICY)

    assert not judgement.may_recover
    if scene.disk.exists:
        assert judgement.verdict is Verdict.UNATTRIBUTED


def test_the_range_of_a_foreign_append_is_exact() -> None:
    scene = Scene(Disk(b"0123456789\n"))
    acts(cron_append, foreign_append, channel_append)(scene)

    judgement = scene.judge()

    assert judgement.unexplained == (Span(18, 8),)
    assert judgement.reason == Reason.of(ReasonCode.UNEXPLAINED_BYTES, ranges=("18+8",))
    assert [(s.writer, s.size) for s in judgement.shares] == [(CRON, 7), (CHANNEL, 6)]


def test_bytes_that_are_missing_are_named_by_their_place() -> None:
    scene = Scene(Disk(b"0123456789\n"))
    cron_append(scene)
    scene.disk.truncate(11)

    judgement = scene.judge()

    assert judgement.verdict is Verdict.EXTERNAL
    assert judgement.reason == Reason.of(ReasonCode.UNEXPLAINED_BYTES, ranges=("11+0",))


def test_a_run_without_an_id_owns_nothing() -> None:
    """Two writers with no run id are not the same run."""
    scene = Scene()
    scene.append(CHANNEL)

    judgement = judge(scene.evidence(run_id=""), POLICY)

    assert judgement.verdict is Verdict.CO_TENANT


@pytest.mark.parametrize("act", [cron_compaction, cron_truncation, acts(cron_compaction, channel_append)])
def test_a_cotenants_rewrite_needs_a_run_that_can_reload(act: Callable[[Scene], None]) -> None:
    scene = Scene()
    act(scene)

    judgement = scene.judge(can_reload=False)

    assert judgement.verdict is Verdict.CO_TENANT
    assert not judgement.may_recover
    assert Reason(ReasonCode.NO_RELOAD) in said(judgement.reason)


@pytest.mark.parametrize("act", [cron_append, own_append, own_compaction, touch])
def test_what_the_run_knows_or_can_be_taught_needs_no_reload(act: Callable[[Scene], None]) -> None:
    scene = Scene()
    act(scene)

    assert scene.judge(can_reload=False).may_recover


def test_the_policy_decides_who_is_a_cotenant() -> None:
    scene = Scene()
    acts(channel_append, cron_append)(scene)

    judgement = scene.judge(only(WriterKind.CHANNEL))

    assert judgement.verdict is Verdict.UNATTRIBUTED
    assert not judgement.may_recover
    forbidden = Reason.of(ReasonCode.DEFAULT_FORBIDS, writer="cron daily-digest", may="nothing", did="append")
    assert judgement.reason == forbidden


def test_the_run_itself_needs_no_leave_of_the_policy() -> None:
    scene = Scene()
    own_append(scene)

    assert scene.judge(only()).may_recover


def test_a_foreign_writer_is_no_cotenant_of_the_built_in_policy() -> None:
    scene = Scene()
    scene.append(STRANGER)

    assert scene.judge().verdict is Verdict.UNATTRIBUTED


def test_the_policy_may_forbid_recovery_across_unchanged_bytes() -> None:
    scene = Scene()
    touch(scene)

    judgement = scene.judge(Policy(unchanged=Unchanged(allow=False)))

    assert (judgement.verdict, judgement.may_recover) == (Verdict.UNCHANGED, False)
    assert Reason(ReasonCode.UNCHANGED_FORBIDDEN) in said(judgement.reason)


@pytest.mark.parametrize("act", [own_append, cron_append, touch])
def test_a_policy_that_needs_kernel_evidence_recovers_nothing_by_bytes(act: Callable[[Scene], None]) -> None:
    scene = Scene()
    act(scene)

    judgement = scene.judge(Policy(needs=Grade.KERNEL))

    assert not judgement.may_recover
    assert Reason.of(ReasonCode.EVIDENCE_TOO_WEAK, needs="kernel") in said(judgement.reason)


def test_a_file_that_could_not_be_read_is_unattributed() -> None:
    scene = Scene()
    scene.append(CRON)
    snapshot = Snapshot(scene.disk.fingerprint, None, uid=1000, problem="it kept changing")

    judgement = judge(replace(scene.evidence(), snapshot=snapshot), POLICY)

    assert (judgement.verdict, judgement.grade, judgement.may_recover) == (Verdict.UNATTRIBUTED, Grade.NONE, False)
    assert judgement.reason == Reason.of(ReasonCode.FILE_UNREADABLE, problem="it kept changing")


def test_a_file_that_became_a_symbolic_link_is_external_though_it_is_not_read() -> None:
    scene = Scene()
    scene.disk.rename_copy()
    snapshot = Snapshot(scene.disk.fingerprint, None, regular=False, uid=1000, problem="it is a symbolic link")

    assert judge(replace(scene.evidence(), snapshot=snapshot), POLICY).verdict is Verdict.EXTERNAL


def test_an_unknown_owner_at_the_fence_proves_nothing() -> None:
    scene = Scene()
    scene.append(CRON)

    assert judge(knowing(scene.evidence(), uid=-1), POLICY).may_recover


def test_a_file_that_was_absent_and_still_is_has_not_been_removed() -> None:
    scene = Scene(Disk(b"", exists=False))

    judgement = scene.judge()

    assert (judgement.verdict, judgement.may_recover) == (Verdict.UNCHANGED, False)


def test_a_file_that_the_gateway_made_and_somebody_removed_is_external() -> None:
    scene = Scene(Disk(b"", exists=False))
    acts(own_append, foreign_removal)(scene)

    assert scene.judge().verdict is Verdict.EXTERNAL


def elsewhere(scene: Scene, **known: object) -> None:
    """The last report came over another link."""
    scene.changes[-1] = replace(scene.changes[-1], link=OTHER_LINK, **known)


def made_by_another_process(scene: Scene) -> None:
    scene.append(CRON, b"anew\n")
    elsewhere(scene)


def own_removal(scene: Scene) -> None:
    scene.remove(OWN)


def removal_by_another_process(scene: Scene) -> None:
    scene.remove(CRON)
    elsewhere(scene)


@pytest.mark.parametrize("told_last", ["removal", "new file"])
def test_a_file_that_another_process_made_anew_and_somebody_removed_is_external(told_last: str) -> None:
    """That the gateway had removed it before is no word of this removal."""
    scene = Scene()
    acts(own_removal, made_by_another_process, foreign_removal)(scene)
    if told_last == "removal":
        scene.changes.reverse()

    assert scene.judge().verdict is Verdict.EXTERNAL


@pytest.mark.parametrize(
    ("disk", "act"),
    [
        (Disk(b"", exists=False), acts(made_by_another_process, own_removal)),
        (Disk(), acts(own_removal, made_by_another_process, removal_by_another_process)),
        (Disk(), acts(own_removal, made_by_another_process, own_removal)),
    ],
)
def test_a_removal_that_came_after_what_another_process_made_is_the_gateways(
    disk: Disk, act: Callable[[Scene], None]
) -> None:
    scene = Scene(disk)
    act(scene)
    assert scene.judge().verdict is Verdict.RESET
    scene.changes.reverse()
    assert scene.judge().verdict is Verdict.RESET


def test_a_removal_and_a_new_file_of_which_no_one_can_tell_the_first_prove_nothing() -> None:
    """One tick of the file system's clock saw both."""
    scene = Scene()
    act_at = scene.disk.fingerprint.ctime_ns
    acts(own_removal, made_by_another_process)(scene)
    elsewhere(scene, after=replace(scene.disk.fingerprint, ino=2, ctime_ns=act_at))
    foreign_removal(scene)

    judgement = scene.judge()

    assert (judgement.verdict, judgement.may_recover) == (Verdict.UNATTRIBUTED, False)


def test_the_first_bytes_of_a_session_are_explained() -> None:
    scene = Scene(Disk(b"", exists=False))
    acts(own_append, cron_append)(scene)

    assert scene.judge().may_recover


def test_unexplained_bytes_while_a_call_is_under_way_are_not_proven_external() -> None:
    scene = Scene()
    before = scene.disk.fingerprint
    scene.disk.append(b"rec")
    scene.report(Operation.APPEND, CRON, b"record\n", before, under_way=True)

    judgement = scene.judge()

    assert (judgement.verdict, judgement.may_recover) == (Verdict.UNATTRIBUTED, False)


_KNOWN: Final = (OWN, CRON, CHANNEL, HEARTBEAT)


@dataclass(frozen=True)
class Draw:
    """What an act needs. Known writers use small letters and foreign ones capitals, so that no byte is both."""

    writer: Writer
    known: bytes
    strange: bytes
    position: int
    there: int
    """How many bytes of a call that is under way have reached the file."""


def under_way(scene: Scene, d: Draw) -> None:
    before = scene.disk.fingerprint
    if d.there:
        scene.disk.append(d.known[: d.there])
    scene.report(Operation.APPEND, d.writer, d.known, before, offset=before.size, under_way=True)


def foreign_replacement(scene: Scene, d: Draw) -> None:
    tail, taint = scene.disk.data[d.position :], scene.disk.foreign[d.position :]
    scene.disk.replace(d.strange + tail, [*[1] * len(d.strange), *taint])


ACTS: Final[dict[str, Callable[[Scene, Draw], None]]] = {
    "append": lambda s, d: s.append(d.writer, d.known),
    "another append": lambda s, d: s.append(d.writer, d.known),
    "append of nothing": lambda s, d: s.append(d.writer, b""),
    "rewrite": lambda s, d: s.rewrite(d.writer, d.known),
    "rewrite of what is there": lambda s, d: s.copy(d.writer),
    "truncation": lambda s, d: s.truncate(d.writer, d.position),
    "write at a position": lambda s, d: s.overwrite(d.writer, d.position, d.known),
    "removal": lambda s, d: s.remove(d.writer),
    "touch": lambda s, d: s.touch(d.writer),
    "append under way": under_way,
    "foreign append": lambda s, d: s.disk.append(d.strange, foreign=1),
    "another foreign append": lambda s, d: s.disk.append(d.strange, foreign=1),
    "foreign write at a position": lambda s, d: s.disk.overwrite(d.position, d.strange, foreign=1),
    "foreign replacement": foreign_replacement,
    "foreign truncation": lambda s, d: s.disk.truncate(d.position),
    "foreign touch": lambda s, d: s.disk.touch(),
    "foreign rename of a copy": lambda s, d: s.disk.rename_copy(),
}


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Any mixture of known and foreign writes behind a fence."""
    scene = Scene(Disk(draw(st.sampled_from((b"", b"old\n", b"older record\nold\n")))))
    for _ in range(draw(st.integers(1, 8))):
        act = ACTS[draw(st.sampled_from(sorted(ACTS)))]
        known = bytes(97 + x % 26 for x in draw(st.binary(min_size=1, max_size=6)))
        drawn = Draw(
            writer=draw(st.sampled_from(_KNOWN)),
            known=known,
            strange=known.upper(),
            position=draw(st.integers(0, len(scene.disk.data))),
            there=draw(st.integers(0, len(known))),
        )
        act(scene, drawn)
    return scene


@given(scenes(), st.booleans())
@settings(max_examples=1000, derandomize=True)
def test_a_foreign_byte_is_never_recovered_across(scene: Scene, can_reload: bool) -> None:  # noqa: FBT001 - drawn
    """Rule 1: whatever else was written, one byte of the content that a foreigner brought in forbids the recovery.

    A foreign byte stays foreign when a known writer reads the file and writes all of it anew.
    """
    judgement = scene.judge(can_reload=can_reload)

    if any(scene.disk.foreign):
        assert not judgement.may_recover
        assert judgement.verdict in {Verdict.EXTERNAL, Verdict.UNATTRIBUTED}


@given(scenes())
@settings(max_examples=1000, derandomize=True)
def test_what_may_be_recovered_is_what_the_known_writers_left(scene: Scene) -> None:
    """Rule 1 and rule 3: the known writes alone, without the foreign acts between them, leave the very same file.

    So no byte came from elsewhere, and none of theirs was taken away.
    """
    settled = all(change.finished for change in scene.changes)
    if settled and scene.judge().may_recover:
        assert scene.disk.data == scene.ghost
