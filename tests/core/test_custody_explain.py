"""`explain` accounts for each byte; `project` says what a file must hold without reading it."""

from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core.custody.files.explain import explain
from sidecar.core.custody.files.manifest import BLOCK_BYTES, Manifest
from sidecar.core.custody.files.projection import project
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import EMPTY_SHA256, BytesContent
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.span import Span
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer
from tests.core.kit import CHANNEL, CRON, OTHER_LINK, OWN, digest, reported

BASE = b"base\n"
AT_END = len(BASE)


def append(
    data: bytes, writer: Writer = CRON, *, at: int, until: int | None = -1, offset: int = -1, link: str = "link-1"
) -> Change:
    """An append reported as number ``at``, returned as number ``until`` (the same, unless told)."""
    ended = at if until == -1 else until
    return reported(Operation.APPEND, writer, data, change_id=f"c{at}", span=(at, ended), offset=offset, link=link)


def rewrite(data: bytes, writer: Writer = CRON, *, at: int, until: int | None = -1) -> Change:
    ended = at if until == -1 else until
    return reported(Operation.REWRITE, writer, data, change_id=f"c{at}", span=(at, ended), offset=0)


def write(data: bytes, writer: Writer = CRON, *, at: int, offset: int) -> Change:
    return reported(Operation.WRITE, writer, data, change_id=f"c{at}", span=(at, at), offset=offset)


def truncate(size: int, writer: Writer = CRON, *, at: int, until: int | None = -1) -> Change:
    ended = at if until == -1 else until
    return reported(Operation.TRUNCATE, writer, change_id=f"c{at}", span=(at, ended), length=size)


@dataclass(frozen=True)
class Case:
    """What was trusted and reported, what is there, and what must be found."""

    changes: tuple[Change, ...]
    content: bytes
    unexplained: tuple[Span, ...] = ()
    shares: tuple[tuple[Writer, int], ...] = ()
    determinate: bool = True
    prefix_intact: bool = True
    base: bytes = BASE


CASES = {
    "nothing": Case((), BASE),
    "an append": Case((append(b"one\n", at=1),), BASE + b"one\n", shares=((CRON, 4),)),
    "appends by one writer": Case(
        (append(b"one\n", at=1), append(b"two\n", at=2)), BASE + b"one\ntwo\n", shares=((CRON, 8),)
    ),
    "appends by many writers": Case(
        (append(b"one\n", at=1), append(b"own\n", OWN, at=2), append(b"three\n", CHANNEL, at=3)),
        BASE + b"one\nown\nthree\n",
        shares=((CRON, 4), (OWN, 4), (CHANNEL, 6)),
    ),
    "the first bytes of a file": Case((append(b"one\n", at=1),), b"one\n", shares=((CRON, 4),), base=b""),
    "a foreign append": Case((), BASE + b"XX", unexplained=(Span(5, 2),)),
    "foreign before a co-tenant": Case(
        (append(b"one\n", at=1, offset=7),), BASE + b"XXone\n", unexplained=(Span(5, 2),), shares=((CRON, 4),)
    ),
    "foreign between co-tenants": Case(
        (append(b"one\n", at=1, offset=5), append(b"two\n", CHANNEL, at=2, offset=11)),
        BASE + b"one\nXXtwo\n",
        unexplained=(Span(9, 2),),
        shares=((CRON, 4), (CHANNEL, 4)),
    ),
    "foreign behind a co-tenant": Case(
        (append(b"one\n", at=1, offset=5),), BASE + b"one\nXX", unexplained=(Span(9, 2),), shares=((CRON, 4),)
    ),
    "foreign on both sides of a co-tenant": Case(
        (append(b"one\n", at=1, offset=7),),
        BASE + b"XXone\nYYY",
        unexplained=(Span(5, 2), Span(11, 3)),
        shares=((CRON, 4),),
    ),
    "foreign ahead of an append at an unknown offset": Case(
        (append(b"one\n", at=1),), BASE + b"XXone\n", unexplained=(Span(5, 6),), shares=((CRON, 0),)
    ),
    "foreign ahead of an append that had been announced": Case(
        (replace(append(b"one\n", at=1, until=2, offset=5), after=Fingerprint(exists=True, size=11)),),
        BASE + b"XXone\nYY",
        unexplained=(Span(5, 2), Span(11, 2)),
        shares=((CRON, 4),),
    ),
    "a record that a foreigner wrote a second time": Case(
        (append(b"one\n", at=1),), BASE + b"one\none\n", unexplained=(Span(9, 4),), shares=((CRON, 4),)
    ),
    "an equal-size rewrite of old bytes": Case((), b"bXse\n", unexplained=(Span(0, 5),), prefix_intact=False),
    "an equal-size rewrite of a co-tenant's bytes": Case(
        (append(b"one\n", at=1), append(b"two\n", at=2)),
        BASE + b"oXe\ntwo\n",
        unexplained=(Span(5, 8),),
        shares=((CRON, 0),),
    ),
    "an equal-size rewrite of a co-tenant's bytes at a known offset": Case(
        (append(b"one\n", at=1, offset=5), append(b"two\n", CHANNEL, at=2, offset=9)),
        BASE + b"oXe\ntwo\n",
        unexplained=(Span(5, 4),),
        shares=((CRON, 0), (CHANNEL, 4)),
    ),
    "a truncation by nobody": Case((), b"ba", unexplained=(Span(0, 5),), prefix_intact=False),
    "a truncation by nobody, and regrown to the old size": Case(
        (), b"baXXX", unexplained=(Span(0, 5),), prefix_intact=False
    ),
    "a co-tenant's bytes that someone took away": Case(
        (append(b"one\n", at=1),), BASE, unexplained=(Span(5, 0),), shares=((CRON, 0),)
    ),
    "the last of a co-tenant's bytes taken away": Case(
        (append(b"one\n", at=1),), BASE + b"on", unexplained=(Span(5, 2),), shares=((CRON, 0),)
    ),
    "a rewrite by a known writer": Case(
        (rewrite(b"anew\n", at=1),), b"anew\n", shares=((CRON, 5),), prefix_intact=False
    ),
    "a rewrite that keeps the old bytes": Case((rewrite(BASE + b"+\n", at=1),), BASE + b"+\n", shares=((CRON, 7),)),
    "an append behind a rewrite": Case(
        (rewrite(b"anew\n", at=1), append(b"one\n", CHANNEL, at=2)),
        b"anew\none\n",
        shares=((CRON, 5), (CHANNEL, 4)),
        prefix_intact=False,
    ),
    "an append that a later rewrite replaced": Case(
        (append(b"one\n", CHANNEL, at=1), rewrite(b"anew\n", at=2)),
        b"anew\n",
        shares=((CRON, 5), (CHANNEL, 0)),
        prefix_intact=False,
    ),
    "foreign behind a rewrite": Case(
        (rewrite(b"anew\n", at=1),),
        b"anew\nXX",
        unexplained=(Span(5, 2),),
        shares=((CRON, 5),),
        prefix_intact=False,
    ),
    "a rewrite that settles what was unsettled before": Case(
        (truncate(2, CHANNEL, at=1), rewrite(b"anew\n", at=2)),
        b"anew\nXX",
        unexplained=(Span(5, 2),),
        shares=((CHANNEL, 0), (CRON, 5)),
        prefix_intact=False,
    ),
    "a truncation at a writer's boundary": Case(
        (append(b"one\n", at=1), append(b"two\n", CHANNEL, at=2), truncate(9, at=3)),
        BASE + b"one\n",
        shares=((CRON, 4), (CHANNEL, 0)),
    ),
    "a truncation to nothing": Case((truncate(0, at=1),), b"", shares=((CRON, 0),), prefix_intact=False),
    "a truncation inside old bytes can't be settled": Case(
        (truncate(2, at=1),),
        b"ba",
        unexplained=(Span(0, 5),),
        shares=((CRON, 0),),
        determinate=False,
        prefix_intact=False,
    ),
    "metadata only": Case(
        (reported(Operation.METADATA, CRON, change_id="c1", span=(1, 1)),), BASE, shares=((CRON, 0),)
    ),
    "overlapping appends in the order of their reports": Case(
        (append(b"one\n", at=1, until=3), append(b"two\n", CHANNEL, at=2, until=4)),
        BASE + b"one\ntwo\n",
        shares=((CRON, 4), (CHANNEL, 4)),
    ),
    "overlapping appends in the other order": Case(
        (append(b"one\n", at=1, until=3), append(b"two\n", CHANNEL, at=2, until=4)),
        BASE + b"two\none\n",
        shares=((CHANNEL, 4), (CRON, 4)),
    ),
    "overlapping appends of which one begins with the other": Case(
        (append(b"one\n", at=1, until=3), append(b"one\ntwo\n", CHANNEL, at=2, until=4)),
        BASE + b"one\ntwo\none\n",
        shares=((CHANNEL, 8), (CRON, 4)),
    ),
    "appends of two links, the order of which is not known": Case(
        (append(b"one\n", at=1), append(b"two\n", CHANNEL, at=1, link=OTHER_LINK)),
        BASE + b"two\none\n",
        shares=((CHANNEL, 4), (CRON, 4)),
    ),
    "a report of a second link that comes after many of the first": Case(
        (
            *(append(b"%02d\n" % n, at=n) for n in range(1, 13)),
            append(b"first\n", CHANNEL, at=1, link=OTHER_LINK),
        ),
        BASE + b"first\n" + b"".join(b"%02d\n" % n for n in range(1, 13)),
        shares=((CHANNEL, 6), (CRON, 36)),
    ),
    "calls that overlap and wrote in pieces can't be settled": Case(
        (append(b"one\n", at=1, until=4, offset=5), append(b"two\n", CHANNEL, at=2, offset=7)),
        BASE + b"ontwo\ne\n",
        unexplained=(Span(5, 2), Span(11, 2)),
        shares=((CRON, 0), (CHANNEL, 4)),
        determinate=False,
    ),
    "calls that did not overlap, in the wrong order": Case(
        (append(b"one\n", at=1), append(b"two\n", CHANNEL, at=2)),
        BASE + b"two\none\n",
        unexplained=(Span(5, 0), Span(9, 4)),
        shares=((CRON, 0), (CHANNEL, 4)),
    ),
    "an append that overlaps a rewrite and came behind it": Case(
        (append(b"one\n", CHANNEL, at=1, until=4), rewrite(b"anew\n", at=2, until=3)),
        b"anew\none\n",
        shares=((CRON, 5), (CHANNEL, 4)),
        prefix_intact=False,
    ),
    "an append that overlaps a rewrite and was replaced by it": Case(
        (rewrite(b"anew\n", at=1, until=4), append(b"one\n", CHANNEL, at=2, until=3)),
        b"anew\n",
        unexplained=(Span(5, 0),),
        shares=((CRON, 5), (CHANNEL, 0)),
        determinate=False,
        prefix_intact=False,
    ),
    "rewrites that overlap are settled by neither": Case(
        (rewrite(b"first\n", CHANNEL, at=1, until=4), rewrite(b"other\n", at=2, until=3)),
        b"first\n",
        unexplained=(Span(0, 6),),
        shares=((CHANNEL, 0), (CRON, 0)),
        determinate=False,
        prefix_intact=False,
    ),
    "an append under way, its bytes not there yet": Case(
        (append(b"one\n", at=1, until=None),), BASE, shares=((CRON, 0),), determinate=False
    ),
    "an append under way, its bytes there already": Case(
        (append(b"one\n", at=1, until=None),), BASE + b"one\n", shares=((CRON, 4),)
    ),
    "an append under way, half of it there": Case(
        (append(b"one\n", at=1, until=None),),
        BASE + b"on",
        unexplained=(Span(5, 2),),
        shares=((CRON, 0),),
        determinate=False,
    ),
    "an append of unknown length under way": Case(
        (append(b"", at=1, until=None),),
        BASE + b"one\n",
        unexplained=(Span(5, 4),),
        shares=((CRON, 0),),
        determinate=False,
    ),
    "a rewrite under way that has happened": Case(
        (rewrite(b"anew\n", at=1, until=None),),
        b"anew\n",
        shares=((CRON, 5),),
        determinate=False,
        prefix_intact=False,
    ),
    "a rewrite under way that has not happened": Case(
        (rewrite(b"anew\n", at=1, until=None),), BASE, shares=((CRON, 0),), determinate=False
    ),
    "a write at the end": Case((write(b"one\n", at=1, offset=AT_END),), BASE + b"one\n", shares=((CRON, 4),)),
    "a write at the end that someone took away": Case(
        (write(b"one\n", at=1, offset=AT_END),), BASE, unexplained=(Span(5, 0),), shares=((CRON, 0),)
    ),
    "a write in the middle of what a co-tenant wrote can't be settled": Case(
        (append(b"one\n", CHANNEL, at=1), write(b"X\n", at=2, offset=7)),
        BASE + b"onX\n",
        unexplained=(Span(5, 2),),
        shares=((CHANNEL, 0), (CRON, 2)),
        determinate=False,
    ),
    "a write in the middle can't be settled": Case(
        (write(b"X", at=1, offset=1),),
        b"bXse\n",
        unexplained=(Span(0, 5),),
        shares=((CRON, 0),),
        determinate=False,
        prefix_intact=False,
    ),
    "a write in the middle that changed nothing": Case(
        (write(b"as", at=1, offset=1), append(b"one\n", CHANNEL, at=2)),
        BASE + b"one\n",
        shares=((CRON, 0), (CHANNEL, 4)),
        determinate=False,
    ),
    "a write in the middle that someone undid": Case(
        (write(b"XX", at=1, offset=1),),
        BASE,
        unexplained=(Span(5, 0),),
        shares=((CRON, 0),),
        determinate=False,
    ),
    "a write in the middle does not explain the same bytes at the end": Case(
        (write(b"ase", at=1, offset=1),),
        BASE + b"ase",
        unexplained=(Span(5, 3),),
        shares=((CRON, 0),),
        determinate=False,
    ),
    "a write of which nothing is known": Case(
        (reported(Operation.WRITE, CRON, change_id="c1", span=(1, 1)), append(b"two\n", CHANNEL, at=2, offset=8)),
        BASE + b"???two\n",
        unexplained=(Span(5, 3),),
        shares=((CHANNEL, 4), (CRON, 0)),
        determinate=False,
    ),
    "a write of no bytes": Case(
        (append(b"", at=1), append(b"two\n", CHANNEL, at=2)), BASE + b"two\n", shares=((CRON, 0), (CHANNEL, 4))
    ),
    "a write of no bytes with the digest of no bytes": Case(
        (replace(append(b"", at=1), sha256=EMPTY_SHA256), append(b"two\n", CHANNEL, at=2)),
        BASE + b"two\n",
        shares=((CRON, 0), (CHANNEL, 4)),
    ),
    "a write of no bytes and nothing else": Case((append(b"", at=1),), BASE, shares=((CRON, 0),)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_byte_is_accounted_for(case: Case) -> None:
    found = explain(Manifest.baseline(BytesContent(case.base)), case.changes, BytesContent(case.content))

    assert found.unexplained == case.unexplained
    assert found.determinate is case.determinate
    assert found.prefix_intact is case.prefix_intact
    assert {s.writer: s.size for s in found.shares} == dict(case.shares)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_manifest_describes_the_content_as_it_is(case: Case) -> None:
    """It becomes the trusted state of the next fence, so it must hold whatever was found."""
    content = BytesContent(case.content)

    manifest = explain(Manifest.baseline(BytesContent(case.base)), case.changes, content).manifest

    assert manifest.size == content.size
    assert manifest.mismatches(content) == ()


def test_the_ranges_of_a_share_are_where_its_bytes_are() -> None:
    changes = (append(b"one\n", at=1), append(b"22\n", CHANNEL, at=2), append(b"three\n", at=3))

    found = explain(Manifest.baseline(BytesContent(BASE)), changes, BytesContent(BASE + b"one\n22\nthree\n"))

    assert {s.writer: s.spans for s in found.shares} == {
        CRON: (Span(5, 4), Span(12, 6)),
        CHANNEL: (Span(9, 3),),
    }


def test_known_writers_stay_in_the_manifest() -> None:
    found = explain(Manifest.baseline(BytesContent(BASE)), (append(b"one\n", at=1),), BytesContent(BASE + b"one\n"))

    assert [(s.offset, s.length, s.writer) for s in found.manifest.segments] == [(0, 5, None), (5, 4, CRON)]


def test_a_rewrite_of_old_bytes_is_located_to_its_block() -> None:
    old = bytes(3 * BLOCK_BYTES)
    new = old[: BLOCK_BYTES + 7] + b"X" + old[BLOCK_BYTES + 8 :]

    found = explain(Manifest.baseline(BytesContent(old)), (), BytesContent(new))

    assert found.unexplained == (Span(BLOCK_BYTES, BLOCK_BYTES),)


def test_adjoining_strange_ranges_are_one() -> None:
    old = bytes(3 * BLOCK_BYTES)
    new = b"X" * (2 * BLOCK_BYTES) + old[2 * BLOCK_BYTES :] + b"tail"

    found = explain(Manifest.baseline(BytesContent(old)), (), BytesContent(new))

    assert found.unexplained == (Span(0, 2 * BLOCK_BYTES), Span(3 * BLOCK_BYTES, 4))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ((), BASE),
        ((append(b"one\n", at=1), append(b"two\n", at=2)), BASE + b"one\ntwo\n"),
        ((append(b"", at=1),), BASE),
        ((write(b"one\n", at=1, offset=AT_END),), BASE + b"one\n"),
        ((rewrite(b"anew\n", at=1), append(b"one\n", at=2)), b"anew\none\n"),
        ((append(b"one\n", at=1), truncate(AT_END, at=2)), BASE),
        ((truncate(0, at=1),), b""),
        ((reported(Operation.REMOVE, CRON, change_id="c1", span=(1, 1)),), b""),
        ((reported(Operation.METADATA, CRON, change_id="c1", span=(1, 1)),), BASE),
    ],
)
def test_what_the_reports_settle_is_projected(changes: tuple[Change, ...], expected: bytes) -> None:
    projected = project(Manifest.baseline(BytesContent(BASE)), changes)

    assert projected is not None
    assert projected.size == len(expected)
    assert projected.mismatches(BytesContent(expected)) == ()


@pytest.mark.parametrize(
    "changes",
    [
        (append(b"one\n", at=1, until=None),),
        (write(b"one\n", at=1, offset=1),),
        (write(b"one\n", at=1, offset=-1),),
        (truncate(2, at=1),),
        (truncate(40, at=1),),
        (append(b"one\n", at=1, until=None), rewrite(b"anew\n", at=2)),
    ],
)
def test_what_the_reports_do_not_settle_is_not_projected(changes: tuple[Change, ...]) -> None:
    assert project(Manifest.baseline(BytesContent(BASE)), changes) is None


@dataclass
class Counted:
    """Content that counts how often it is asked."""

    data: bytes
    asked: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def digest(self, offset: int, length: int) -> str:
        self.asked += 1
        return BytesContent(self.data).digest(offset, length)


@pytest.mark.parametrize("strange", [b"", b"XX"])
def test_the_work_grows_with_the_account_and_not_with_its_square(strange: bytes) -> None:
    """A run stands at its check for 250 ms at most, and a stranger must not be able to use that up."""
    many = 400
    records = [b"%05d\n" % n for n in range(many)]
    changes = tuple(append(r, at=n + 1, offset=AT_END + 6 * n) for n, r in enumerate(records))
    content = Counted(BASE + strange + b"".join(records))

    explain(Manifest.baseline(BytesContent(BASE)), changes, content)

    assert content.asked < 5 * many


@dataclass(frozen=True)
class Story:
    """Reports, and the one file that they lead to."""

    changes: tuple[Change, ...]
    content: bytes


@st.composite
def honest_stories(draw: st.DrawFn) -> Story:
    """What linked processes may do to a file; neighbours may overlap in time and then come in either order."""
    content = BASE
    changes: list[Change] = []
    number = 1
    for step in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(("append", "pair", "nothing", "rewrite", "truncate", "metadata")))
        one, two = b"%d-%s\n" % (step, b"a" * draw(st.integers(0, 5))), b"%d+\n" % step
        if kind == "append":
            changes.append(append(one, at=number))
            content += one
        elif kind == "nothing":
            changes.append(append(b"", at=number))
        elif kind == "pair":
            changes += [append(one, at=number, until=number + 2), append(two, CHANNEL, at=number + 1, until=number + 3)]
            content += one + two if draw(st.booleans()) else two + one
        elif kind == "rewrite":
            changes.append(rewrite(one, at=number))
            content = one
        elif kind == "truncate":
            changes.append(truncate(0, at=number))
            content = b""
        else:
            changes.append(reported(Operation.METADATA, OWN, change_id=f"c{number}", span=(number, number)))
        number += 4
    return Story(tuple(changes), content)


@given(honest_stories())
@example(Story((rewrite(b"", at=1),), b""))
def test_an_honest_account_explains_everything(story: Story) -> None:
    found = explain(Manifest.baseline(BytesContent(BASE)), story.changes, BytesContent(story.content))

    assert found.unexplained == ()
    assert found.determinate
    assert sum(s.size for s in found.shares) + (
        len(BASE) if found.manifest.segments[:1] and (found.manifest.segments[0].writer is None) else 0
    ) == len(story.content)


@given(honest_stories(), st.data())
def test_one_strange_byte_is_always_found(story: Story, data: st.DataObject) -> None:
    """Rule 1: put a byte that nobody wrote anywhere into what an honest account leads to, and it is found."""
    position = data.draw(st.integers(0, len(story.content)))
    content = story.content[:position] + b"\xff" + story.content[position:]

    found = explain(Manifest.baseline(BytesContent(BASE)), story.changes, BytesContent(content))

    assert any(r.offset <= position < r.end for r in found.unexplained)


@given(honest_stories(), st.data())
def test_one_lost_byte_is_always_missed(story: Story, data: st.DataObject) -> None:
    if not story.content:
        return
    position = data.draw(st.integers(0, len(story.content) - 1))
    content = story.content[:position] + story.content[position + 1 :]

    found = explain(Manifest.baseline(BytesContent(BASE)), story.changes, BytesContent(content))

    assert found.unexplained != ()


@given(honest_stories())
def test_a_projection_is_what_the_file_holds(story: Story) -> None:
    """Where calls did not overlap; where they did, only the file tells their order."""
    sequential = all(a.precedes(b) for a, b in zip(story.changes, story.changes[1:], strict=False))
    projected = project(Manifest.baseline(BytesContent(BASE)), story.changes)

    assert projected is not None
    assert projected.size == len(story.content)
    if sequential:
        assert projected.mismatches(BytesContent(story.content)) == ()


def test_the_digest_of_a_report_is_over_exactly_its_bytes() -> None:
    """The kit must not make a case pass by a digest of its own."""
    assert append(b"one\n", at=1).sha256 == digest(b"one\n") == BytesContent(BASE + b"one\n").digest(5, 4)
