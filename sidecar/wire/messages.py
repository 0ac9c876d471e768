"""Every message of the wire, once. The JSON Schema and the preload's tests are made from these types.

Common to all: ``t`` names the type. Messages of the gateway carry ``seq``, counted up by one from 1 on each link: a gap
is lost custody. Times (``at``) are nanoseconds since the epoch in decimal, fingerprints are the text form of
`sidecar.core.facts.fingerprint.Fingerprint`; both are strings because JavaScript's numbers lose precision above 2**53.
No message carries transcript text, and session keys are hashed before they leave the gateway (rule 7).
"""

from typing import Annotated, Final

import msgspec

from sidecar.core import reports
from sidecar.core.facts.gateway import Role
from sidecar.core.policy.policy import MAX_TRIES

PROTOCOL: Final = 3
"""Newest version that we speak. A new message, or another meaning of an old one, makes a new version."""

OLDEST: Final = 1
"""Oldest version that we speak still: the preload in a running gateway is as old as the gateway's start."""

MAX_LINE_BYTES: Final = 1 << 20
"""Longest message accepted, newline included."""

# Python's $ also matches ahead of a newline at the end, and its \d other digits than these.
Fp = Annotated[
    str,
    msgspec.Meta(pattern=r"^(absent|[0-9]{1,20}:[0-9]{1,20}:[0-9]{1,20}:-?[0-9]{1,20}:-?[0-9]{1,20})$(?!\n)"),
]
Version = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(absent|[0-9]{1,20}:[0-9]{1,20}:[0-9]{1,20}:-?[0-9]{1,20}:-?[0-9]{1,20}"
        r"|rows:[^:\n]{0,80}:[0-9]{1,15}:[0-9a-f]{64})$(?!\n)"
    ),
]
"""Of a file, its fingerprint; of rows in a database, the text form of `sidecar.core.facts.rows.RowVersion`."""
Ns = Annotated[str, msgspec.Meta(pattern=r"^[0-8]?[0-9]{1,18}$(?!\n)")]
"""Below 9 * 10**18, the year 2255: what is kept in SQLite has 63 bits."""
Sha = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$(?!\n)")]
Id = Annotated[str, msgspec.Meta(max_length=200)]
Token = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{32})?$(?!\n)")]
"""A number used once, or the id of a key: 16 bytes."""
Path = Annotated[str, msgspec.Meta(max_length=4096)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Seq = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?(?!\n)$")]
"""Of an outside co-tenant: a word, so that it can be a label."""


class WireWriter(msgspec.Struct, kw_only=True, frozen=True, gc=False, omit_defaults=True):
    """Who writes. ``kind`` is a word of `sidecar.core.facts.writer.WriterKind`; others are taken as unknown."""

    kind: Id
    name: Id = ""
    run: Id = ""


class WireRun(msgspec.Struct, kw_only=True, frozen=True, gc=False, omit_defaults=True):
    """The run that a fence belongs to. ``session`` is the hash of the session key."""

    run: Id = ""
    kind: Id = ""
    name: Id = ""
    session: Id = ""
    trace: Id = ""
    span: Id = ""


class FromGateway(msgspec.Struct, kw_only=True, frozen=True, gc=False, tag_field="t", omit_defaults=True):
    """Base of what the preload says."""

    seq: Seq
    at: Ns


class Hello(FromGateway, kw_only=True, frozen=True, tag="hello"):
    """First message of a link. ``thread`` is 0 in the main thread; ``lost`` counts messages dropped before it.

    A program outside of OpenClaw that announces its writes has the role ``cotenant`` and a ``name``. All that it writes
    is by the writer ``declared`` of that name, whatever else it says; of the other messages it may send those about
    locks, changes and its end.

    ``protocol`` is the newest version that is spoken, ``oldest`` the oldest; without it, ``protocol`` is the only one.

    ``script`` is the real path of the main script, ``key`` the id of the link key that the process was given,
    ``proof`` the hexadecimal HMAC-SHA256 of ``gateway``, a newline and the nonce of the `Challenge`, made with the
    secret of that key; ``nonce`` is what the sidecar proves itself with.
    """

    protocol: int
    oldest: int = 0
    pid: int
    role: Role = Role.GATEWAY
    name: Name = ""
    thread: Count = 0
    started: Ns = "0"
    openclaw: Id = ""
    node: Id = ""
    preload: Id = ""
    state_dir: str = ""
    lost: Count = 0
    script: Path = ""
    key: Token = ""
    proof: Sha = ""
    nonce: Token = ""


class AdapterFound(FromGateway, kw_only=True, frozen=True, tag="adapter"):
    """Which fence the loaded bundle has, and what can be done about it."""

    adapter: Id
    reload: bool = False
    reason: str = ""


class Bye(FromGateway, kw_only=True, frozen=True, tag="bye"):
    """The process ends in order; everything it did has been said."""


class LockTaken(FromGateway, kw_only=True, frozen=True, tag="lock.taken"):
    """The session lock was acquired after ``wait`` nanoseconds."""

    file: str
    hold: Id
    writer: WireWriter
    wait: Ns


class LockReleased(FromGateway, kw_only=True, frozen=True, tag="lock.released"):
    """The session lock was given back after ``held`` nanoseconds.

    ``after`` is the file as the process' last change under the lock left it; as it is then, where there was none.
    """

    file: str
    hold: Id
    writer: WireWriter
    after: Fp
    held: Ns


class LockFailed(FromGateway, kw_only=True, frozen=True, tag="lock.failed"):
    """The session lock was not had: ``reason`` is timeout, stale, aborted or error."""

    file: str
    writer: WireWriter
    wait: Ns
    reason: Id


class Changed(FromGateway, kw_only=True, frozen=True, tag="change"):
    """A call that changes a session file. ``phase``: begin, end, or done for a call that was both at once.

    ``op`` is a word of `sidecar.core.facts.change.Operation`. ``failed`` calls may have written anything.
    """

    file: str
    change: Id
    phase: Id
    op: Id
    writer: WireWriter
    length: Count = 0
    sha256: Sha = ""
    offset: int = -1
    before: Fp = ""
    after: Fp = ""
    failed: bool = False


class WireRow(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A row as it is now; see `sidecar.core.facts.rows.Row`."""

    seq: Count
    sha256: Sha
    size: Count = 0
    id: Id = ""
    parent: Id = ""
    kind: Id = ""
    role: Id = ""
    injected: bool = False
    key: Id = ""


class Committed(FromGateway, kw_only=True, frozen=True, tag="rows"):
    """A transaction that changed a transcript in a database was committed; ``after`` is the transcript's version then.

    ``file`` is the path of the database, ``#`` and the session's id. ``op`` is append, rewrite or remove; ``gone`` has
    the first and the last place of each run of deleted rows. A change of many rows comes in several messages, all but
    the last with ``more``.
    """

    file: str
    change: Id
    op: Id
    after: Version
    writer: WireWriter
    rows: tuple[WireRow, ...] = ()
    gone: tuple[tuple[Count, Count], ...] = ()
    more: bool = False


class DatabaseLocked(FromGateway, kw_only=True, frozen=True, tag="db.lock"):
    """A write transaction of an agent's database is over: it waited ``wait`` nanoseconds and held the lock ``held``.

    ``op`` is the gateway's name for it, ``thread`` is 0 in the main thread, ``stored`` counts the rows of transcripts
    that it stored. With an ``error``, a word of `sidecar.core.facts.database.LockError`, the lock was not had, or
    nothing was committed.
    """

    database: str
    writer: WireWriter
    wait: Ns
    held: Ns = "0"
    op: Id = ""
    thread: Count = 0
    stored: Count = 0
    error: Id = ""


class AtFence(FromGateway, kw_only=True, frozen=True):
    """Base of what is said of a run and its fence."""

    window: Id
    file: str
    fence: Version
    run: WireRun


class FenceSet(AtFence, kw_only=True, frozen=True, tag="fence.set"):
    """A run recorded ``fence`` as the fingerprint of its window."""


class FenceClosed(FromGateway, kw_only=True, frozen=True, tag="fence.closed"):
    """The run is done with its window; ``takeover`` when the gateway had stopped it."""

    window: Id
    takeover: bool = False


class Ask(AtFence, kw_only=True, frozen=True, tag="ask"):
    """The run holds the lock, stands at its check and sees a difference: may it go on?"""

    ask: Id
    current: Fp


class LockAsked(AtFence, kw_only=True, frozen=True, tag="ask.lock"):
    """A fenced run did not get the session lock in ``waited`` nanoseconds: may it wait on?

    Only asked where `Welcome.answers` names it.
    """

    ask: Id
    waited: Ns


class LockWaited(FromGateway, kw_only=True, frozen=True, tag="lock.waited"):
    """What came of waiting on: ``ok`` when the lock was had, ``waited`` nanoseconds after it was first asked for."""

    window: Id
    ok: bool
    waited: Ns
    tries: Count = 1


class Applied(FromGateway, kw_only=True, frozen=True, tag="applied"):
    """A command was obeyed (``ok``) or refused for ``reason``. ``latency`` is from question to effect.

    With ``ask``, no answer to that question came within ``latency``: the gateway has gone on, and obeys none. Said when
    it stops waiting, and once more, with the time until then, when the answer comes.
    """

    window: Id
    ok: bool
    fence: Version
    current: Version
    pushed: bool = False
    latency: Ns = "0"
    ask: Id = ""
    reason: str = ""
    records: tuple[Id, ...] = ()


class Tripped(AtFence, kw_only=True, frozen=True, tag="tripped"):
    """The gateway's own fence stopped the turn."""

    current: Version


class TurnLost(FromGateway, kw_only=True, frozen=True, tag="turn.lost"):
    """Where sessions are in a database: a run ended without an answer, and this is the first error that it met.

    ``cause`` is a word of `sidecar.core.facts.turn_loss.LossCause`, ``detail`` of ``LossDetail``; ``row`` is the place
    of the row that it is about. ``other`` is the run that has the session now, ``known`` when this process has begun
    it (where there is none: when it has taken the claim back), ``live`` when it was under way. ``tools`` are those
    whose result was not stored.
    """

    run: WireRun
    cause: Id
    detail: Id = ""
    window: Id = ""
    file: str = ""
    row: int = -1
    other: Id = ""
    known: bool = False
    live: bool = False
    tools: tuple[Id, ...] = ()


class WriterClaimed(FromGateway, kw_only=True, frozen=True, tag="claim"):
    """A run claimed its session from run ``previous``, and stopped that one where it was ``superseded``."""

    run: WireRun
    previous: Id = ""
    superseded: bool = False


class Diagnostic(reports.Diagnostic, kw_only=True, frozen=True, tag_field="t", tag="diag", omit_defaults=True):
    """An event of the gateway's diagnostics bus, reduced to what carries no text.

    ``event`` is the bus's own name (``model.call.started``, ``session.stalled``, ...). A line of the gateway's log of
    which a user had something is ``log.`` and what it says (``log.lane_task_error``, ...); ``file`` is the session file
    that it names. ``exported``: the gateway exports the run's span itself, and ``trace``, ``span`` and ``parent`` are
    as it does, or would (``unsampled``).
    """

    seq: Seq
    at: Ns
    event: Id
    run: Id = ""
    call: Id = ""
    session: Id = ""
    provider: Id = ""
    model: Id = ""
    duration_ms: float = 0.0
    trace: Id = ""
    span: Id = ""
    parent: Id = ""
    exported: bool = False
    unsampled: bool = False
    state: Id = ""
    reason: Id = ""
    error: Id = ""
    input_tokens: Count = 0
    output_tokens: Count = 0
    file: str = ""
    tool: Id = ""


class Lost(FromGateway, kw_only=True, frozen=True, tag="lost"):
    """Messages were dropped because the queue was full."""

    count: Count


class Trouble(FromGateway, kw_only=True, frozen=True, tag="trouble"):
    """The preload caught an error of its own and stepped aside at ``where``."""

    where: Id
    reason: str


class Synced(FromGateway, kw_only=True, frozen=True, tag="synced"):
    """Answer to `Sync`: everything done before it has been said."""

    sync: Id


GatewayMessage = (
    Hello
    | AdapterFound
    | Bye
    | LockTaken
    | LockReleased
    | LockFailed
    | Changed
    | Committed
    | DatabaseLocked
    | FenceSet
    | FenceClosed
    | Ask
    | LockAsked
    | LockWaited
    | Applied
    | Tripped
    | TurnLost
    | WriterClaimed
    | Diagnostic
    | Lost
    | Trouble
    | Synced
)


NOT_DECLARED: Final = "not_declared"
"""The policy does not make the program a co-tenant."""

NO_COTENANT: Final = "no_cotenant"
"""It would, and the process is none that may be one."""


class FromSidecar(msgspec.Struct, kw_only=True, frozen=True, tag_field="t", omit_defaults=True):
    """Base of what the sidecar says."""


class Challenge(FromSidecar, kw_only=True, frozen=True, tag="challenge"):
    """The first message of a link, ahead of the hello: what a process proves with that it holds its key."""

    nonce: Token


class Welcome(FromSidecar, kw_only=True, frozen=True, tag="welcome"):
    """Answer to a hello that is understood. ``protocol`` is the version that both speak from here on.

    ``answers`` names the questions beyond ``ask`` that get an answer. What a link that is not ``verified`` says is a
    claim, for ``reason``.

    ``key`` and ``secret`` are given to a verified gateway that proved no key: it keeps them in its memory for its life
    and proves itself with them on each later link. ``proof`` is the hexadecimal HMAC-SHA256 of ``sidecar``, a newline
    and the hello's ``nonce``, made with the secret of the hello's ``key``; only the process that the key was given to
    gets one, so that nobody in between can pass it on.
    """

    protocol: int
    sidecar: Id
    mode: Id
    answers: tuple[Id, ...] = ()
    verified: bool = False
    reason: str = ""
    key: Token = ""
    secret: Sha = ""
    proof: Sha = ""


class Reject(FromSidecar, kw_only=True, frozen=True, tag="reject"):
    """Answer to a hello that is not: the sidecar closes the link, the gateway goes on as unpatched.

    ``code`` is a short stable word for the reason, such as `NOT_DECLARED`; before protocol 3 there is none.
    """

    protocol: int
    reason: str
    code: Id = ""


class Approve(FromSidecar, kw_only=True, frozen=True, tag="approve"):
    """Compare and set: move the fence of ``window`` from exactly ``fence`` to exactly ``current`` (rule 2).

    ``span`` is the digest of exactly the rows in between; empty for files.
    """

    window: Id
    fence: Version
    current: Version
    ask: Id = ""
    span: Sha = ""


class Refuse(FromSidecar, kw_only=True, frozen=True, tag="refuse"):
    """No: the gateway's own fence decides. Without a question: what was approved ahead of one is taken back."""

    window: Id
    ask: Id
    verdict: Id
    reason: str


class Wait(FromSidecar, kw_only=True, frozen=True, tag="wait"):
    """Yes to `LockAsked`: try the lock once more. The check of the file comes after it as always."""

    window: Id
    ask: Id


class Patience(FromSidecar, kw_only=True, frozen=True, tag="patience"):
    """The run of this window may ask ``tries`` times more for its database where it is held; 0 takes that back.

    What comes of it is a `LockWaited`.
    """

    window: Id
    tries: Annotated[int, msgspec.Meta(ge=0, le=MAX_TRIES)]


class Sync(FromSidecar, kw_only=True, frozen=True, tag="sync"):
    """Say what you have done so far, then answer `Synced`."""

    sync: Id


SidecarMessage = Challenge | Welcome | Reject | Approve | Refuse | Wait | Patience | Sync

ANSWERS: Final = ("ask.lock",)
"""The questions that this sidecar answers beyond ``ask``."""
