"""A link that is new, to a sidecar that may be: what is under way is told again, so that custody can begin anew."""

from collections.abc import Callable

from tests.preload.conftest import Pair
from tests.preload.kit import BOUND_MS, SLOW_WRITE, Gateway, Sidecar, Told


def again(pair: Pair, code: str = "") -> tuple[Gateway, Sidecar, Callable[[], list[Told]]]:
    """A run in its window, something more, and another link; and what was told on that about its file."""
    sidecar, gateway = pair.sidecar, pair.gateway
    sidecar.renew()
    gateway.renew()
    gateway.do("await startRun()")
    gateway.do(code)
    sidecar.sync()
    links = len(sidecar.connections)
    sidecar.hang_up(sidecar.link)
    sidecar.wait_for(lambda: len(sidecar.connections) > links and sidecar.link.greeted, "another link")
    sidecar.sync()
    file, link = str(gateway.file.resolve()), sidecar.link
    # Runs of other tests may have left windows behind.
    return gateway, sidecar, lambda: [m for m in link.told if m.get("file", file) == file]


def test_an_open_window_is_told_again_on_another_link(either: Pair) -> None:
    gateway, sidecar, told = again(either)
    first = [m for m in sidecar.connections[-2].told if m["t"] == "fence.set"][-1]
    [second] = [m for m in told() if m["t"] == "fence.set"]
    assert {k: second[k] for k in ("window", "file", "fence", "run")} == {
        k: first[k] for k in ("window", "file", "fence", "run")
    }
    assert gateway.do("return await endRun()")["outcome"] == "answered"


def test_a_hold_is_told_again_on_another_link_and_then_its_end(either: Pair) -> None:
    gateway, sidecar, told = again(either, "g.lock = await bundle.acquireSessionWriteLock({ sessionFile: file });")
    first = [m for m in sidecar.connections[-2].told if m["t"] == "lock.taken"][-1]
    [second] = [m for m in told() if m["t"] == "lock.taken"]
    assert (second["hold"], second["file"], second["writer"]) == (first["hold"], first["file"], first["writer"])
    gateway.do("await g.lock.release()")
    sidecar.sync()
    assert [m["hold"] for m in told() if m["t"] == "lock.released"] == [first["hold"]]


def test_a_write_under_way_is_told_again_ahead_of_the_window(either: Pair) -> None:
    gateway, sidecar, told = again(either, SLOW_WRITE)
    first = [m for m in sidecar.connections[-2].told if m["t"] == "change" and m["phase"] == "begin"][-1]
    [second] = [m for m in told() if m["t"] == "change"]
    assert (second["change"], second["phase"], second["before"]) == (first["change"], "begin", first["before"])
    kinds = [m["t"] for m in told() if m["t"] in {"hello", "adapter", "change", "fence.set"}]
    assert kinds == ["hello", "adapter", "change", "fence.set"]
    gateway.do("g.goOn(); await g.writing")
    sidecar.sync()
    assert [m["phase"] for m in told() if m["t"] == "change"] == ["begin", "end"]


def test_what_is_over_is_not_told_again(either: Pair) -> None:
    _, _, told = again(
        either, f"setAskBoundMs({BOUND_MS}); await coTenant(); await endRun(() => {{}}).catch(() => {{}})"
    )
    assert {m["t"] for m in told()} == {"hello", "adapter", "synced"}
