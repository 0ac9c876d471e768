"""Chains of custody on disk, and the plain form of the core's values."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from sidecar.core import events as ev
from sidecar.core.custody.files.chain import KeptChain
from sidecar.core.custody.files.manifest import Manifest, Segment
from sidecar.core.custody.gaps import Gap
from sidecar.core.custody.rows.chain import ChainRow, KeptRows
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Adapter, Gateway, Run
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.policy import Policy
from sidecar.store.chains import MAX_CHAINS, ChainReader, ChainStore
from sidecar.store.codec import build, decode, encode
from sidecar.store.errors import StoreCorruptError
from sidecar.store.incidents import IncidentStore
from sidecar.store.reader import session_hash
from tests.store.samples import NOON, Clock, keep_chain

CRON = Writer(WriterKind.CRON, "digest", 7, "run-1")
FILE = "/state/agents/main/sessions/0a1b.jsonl"


def chain(file: str = FILE, *, watched_ns: int = 30, session: str = "") -> KeptChain:
    segments = (Segment(0, 5, "aa"), Segment(5, 4, "bb", CRON, 17), Segment(9, 4, "cc", CRON, 18, kernel=True))
    return KeptChain(
        file=file,
        session=session,
        manifest=Manifest(segments),
        since_ns=10,
        watched_ns=watched_ns,
        gaps=(Gap(11, 12, Reason(ReasonCode.UNWATCHED)),),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IncidentStore]:
    opened = IncidentStore(tmp_path / "sidecar.db", Clock(NOON))
    yield opened
    opened.close()


def test_a_chain_comes_back_as_it_was_kept(store: IncidentStore) -> None:
    chains = ChainStore(store)
    keep_chain(store, chains, chain())
    assert chains.recall(FILE) == chain()
    keep_chain(store, chains, chain(watched_ns=40))
    assert chains.recall(FILE) == chain(watched_ns=40)
    assert chains.recall("/another") is None
    chains.close()


def test_a_chain_of_rows_comes_back_as_it_was_kept_and_is_found_by_its_session(store: IncidentStore) -> None:
    transcript = "/state/agents/main/agent/openclaw-agent.sqlite#5e55"
    rows = (ChainRow(0, "aa"), ChainRow(1, "bb", CRON, 17), ChainRow(5, "cc", CRON, 18, kernel=True))
    gap = Gap(11, 12, Reason(ReasonCode.UNWATCHED))
    kept = KeptRows(
        file=transcript, rows=rows, generation="g1", begun=True, since_ns=10, watched_ns=30, gaps=(gap,), session="ab"
    )
    chains = ChainStore(store)
    keep_chain(store, chains, kept)
    assert chains.recall(transcript) == kept
    for name in (transcript, "openclaw-agent.sqlite#5e55", "5e55", "ab"):
        assert chains.files(name) == (transcript,)
    chains.close()


def test_what_an_earlier_life_has_kept_was_watched_as_long_as_it_lived(store: IncidentStore) -> None:
    first = ChainStore(store)
    keep_chain(store, first, chain())
    first.watching(90)
    assert first.recall(FILE) == chain()
    first.close()
    second = ChainStore(store)
    second.watching(200)
    assert second.recall(FILE) == chain(watched_ns=90)
    second.close()


@pytest.mark.parametrize("name", [FILE, "0a1b.jsonl", "0a1b", "agent:main:main", session_hash("agent:main:main")])
def test_a_chain_is_found_by_every_name_of_its_session(store: IncidentStore, name: str) -> None:
    chains = ChainStore(store)
    keep_chain(store, chains, chain(session=session_hash("agent:main:main")))
    keep_chain(store, chains, chain("/other.jsonl"))
    reader = ChainReader(store.path)
    assert reader.files(name) == (FILE,)
    assert reader.recall(FILE) is not None
    reader.close()
    chains.close()


def test_a_name_that_is_no_utf_8_is_kept(store: IncidentStore) -> None:
    chains = ChainStore(store)
    keep_chain(store, chains, chain("/caf\udce9.jsonl"))
    assert chains.files("caf\udce9") == ("/caf\udce9.jsonl",)
    chains.close()


def test_old_chains_go_and_no_more_than_a_bound_is_kept(store: IncidentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.store.chains.MAX_CHAINS", 3)
    assert MAX_CHAINS > 3
    chains = ChainStore(store)
    for n in range(6):
        keep_chain(store, chains, chain(f"/{n}.jsonl", watched_ns=n))
    chains.forget_before(1)
    assert [n for n in range(6) if chains.recall(f"/{n}.jsonl")] == [3, 4, 5]
    chains.close()


def test_a_damaged_row_names_the_file(store: IncidentStore) -> None:
    chains = ChainStore(store)
    keep_chain(store, chains, chain())
    with store.writing() as database:
        database.execute("UPDATE chains SET body = '{}'")
    with pytest.raises(StoreCorruptError, match="0a1b"):
        chains.recall(FILE)
    chains.close()


EXAMPLES = (
    Change("c1", Operation.APPEND, CRON, 5, 3, "aa", before=Fingerprint(exists=True, size=4), ended=None),
    Gateway("l", 1, "2026.5.18", Adapter.SWAP),
    Run("r", "cron"),
    Manifest((Segment(0, 3, "aa", CRON, 1), Segment(3, 1, "bb"))),
    Policy(),
    ev.RecoveryApplied(
        window="w",
        applied=True,
        fence=Fingerprint.absent(),
        current=Fingerprint(exists=True),
        pushed=False,
        latency_ns=1,
        reason="",
        records=("a", "b"),
        at_ns=2,
    ),
)


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda v: type(v).__name__)
def test_values_of_the_core_survive_their_plain_form(value: object) -> None:
    assert decode(type(value), encode(value)) == value


@pytest.mark.parametrize("kind", get_args(ev.Event), ids=lambda k: k.__name__)
def test_the_fields_of_every_event_have_types_that_are_understood(kind: type) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__}: .*missing"):
        build(kind, {})


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([], "Gateway: Expected `object`, got `array`"),
        ({"link": 1, "pid": 1}, r"Gateway\.link"),
        ({"link": "l", "pid": True}, r"Gateway\.pid"),
        ({"link": "l"}, "Gateway: .*missing required field `pid`"),
        ({"link": "l", "pid": 1, "adapter": "glue"}, r"'glue' - at `Gateway\.adapter"),
    ],
)
def test_what_does_not_fit_is_named(value: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        build(Gateway, value)
