"""What the gateway's log says of a lost turn reaches its incident, which had closed before."""

import pytest

from sidecar.core import events as ev
from sidecar.core.decisions import Decision, SaveIncident
from tests.core.kit import FILE, RUN, Bench, fenced

SECOND = 1_000_000_000
FOREIGN = b"somebody else\n"


def told(
    bench: Bench, what: str = "lane task error", seconds: float = 9.0, about: dict[str, str] | None = None
) -> list[Decision]:
    known = {"file": "", "run_id": "", "session": "", **(about or {})}
    return bench.handle(
        ev.GatewayLogged(
            file=known["file"],
            run_id=known["run_id"],
            session=known["session"],
            what=what,
            waited_ns=int(seconds * SECOND),
            at_ns=bench.now(),
        )
    )


@pytest.fixture
def bench() -> Bench:
    """A turn that was lost to a foreign write."""
    made = Bench()
    made.fence()
    made.disk.append(FOREIGN, foreign=1)
    made.ask()
    made.trip()
    made.close(takeover=True)
    return made


def lines(bench: Bench) -> list[tuple[str, str]]:
    return [(m.what, m.detail) for m in bench.incident.timeline if "window closed" not in m.what][-2:]


@pytest.mark.parametrize("about", [{"file": FILE}, {"run_id": RUN.run_id}, {"session": RUN.session}])
def test_an_incident_shows_how_long_the_user_waited(bench: Bench, about: dict[str, str]) -> None:
    if not all(about.values()):
        pytest.skip("the kit's run has none")
    (saved,) = told(bench, about=about)
    assert isinstance(saved, SaveIncident)
    assert bench.incident.turn_lost
    assert bench.incident.waited_ms == 9000.0
    assert bench.incident.closed_at_ns
    assert lines(bench)[-1] == ("lane task error", "after 9.0 s")


def test_two_lanes_say_the_same_once_and_the_longer_wait_counts(bench: Bench) -> None:
    told(bench, seconds=9.024, about={"file": FILE})
    told(bench, seconds=9.028, about={"file": FILE})
    assert bench.incident.waited_ms == 9028.0
    assert [m.what for m in bench.incident.timeline].count("lane task error") == 1
    assert told(bench, seconds=9.024, about={"file": FILE}) == []


def test_each_kind_of_line_is_shown(bench: Bench) -> None:
    told(bench, "candidate failed", 0.0, about={"run_id": RUN.run_id})
    told(bench, about={"file": FILE})
    assert lines(bench) == [("candidate failed", ""), ("lane task error", "after 9.0 s")]


def test_a_line_about_another_turn_changes_nothing(bench: Bench) -> None:
    assert told(bench, about={"file": "/elsewhere.jsonl"}) == []
    assert told(bench, about={"run_id": "another", "file": FILE}) == []
    assert told(bench) == []
    assert bench.incident.waited_ms == 0.0


def test_a_line_long_after_is_about_something_else(bench: Bench) -> None:
    bench.pass_time(121 * SECOND)
    assert told(bench, about={"file": FILE}) == []


def test_a_line_in_an_open_window_is_in_its_timeline_and_saved_with_it() -> None:
    bench = fenced()
    assert told(bench, "recovery none", 125.0, about={"run_id": RUN.run_id}) == []
    bench.disk.append(FOREIGN, foreign=1)
    bench.ask()
    bench.trip()
    bench.close(takeover=True)
    assert ("recovery none", "after 125.0 s") in [(m.what, m.detail) for m in bench.incident.timeline]


def test_a_turn_that_was_not_lost_has_no_aftermath() -> None:
    bench = fenced()
    bench.cotenant(b"note\n")
    bench.look()
    bench.apply(bench.approvals[-1], "r1")
    bench.close()
    assert told(bench, about={"file": FILE}) == []
