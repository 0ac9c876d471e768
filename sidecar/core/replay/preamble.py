"""What is known of a file when its window opens, told as the events that lead there: a recording begins with them."""

from collections.abc import Iterator

from sidecar.core import events as ev
from sidecar.core.custody.kernel_log import KernelLog
from sidecar.core.engine import Engine
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.rows import place_of
from sidecar.core.facts.value import replace


def preamble(engine: Engine, file: str, at_ns: int) -> Iterator[ev.Event]:
    """The events that lead a new engine to what this one knows of the file."""
    known = engine.registry
    for number, (pid, started_at_ns) in enumerate(known.kernel_log.past):
        gone = Gateway(link=f"past-{number}", pid=pid, started_at_ns=started_at_ns)
        yield ev.LinkOpened(gateway=gone, at_ns=at_ns)
        yield ev.LinkLost(link=gone.link, clean=True, at_ns=at_ns)
    for claim in engine.claims(file):
        # Each by itself: a link that is believed now was not when it claimed this.
        yield ev.LinkOpened(gateway=claim.gateway, at_ns=at_ns)
        yield ev.FileChanged(file=file, change=claim.change)
        yield ev.LinkLost(link=claim.gateway.link, clean=True, at_ns=at_ns)
    for gateway in (*engine.gateways, *engine.doubted):
        yield ev.LinkOpened(gateway=gateway, at_ns=at_ns)
    if engine.gate.pause is not None:
        yield ev.PauseChanged(pause=engine.gate.pause, at_ns=at_ns)
    yield from _heard(known.kernel_log, place_of(file))
    yield from known.locks.recount(file)
    ledger = engine.files.ledgers.get(file)
    if ledger is not None:
        yield ev.AccountRecalled(file=file, account=ledger.account.recorded(), at_ns=at_ns)
    row_ledger = engine.rows.ledgers.get(file)
    if row_ledger is not None:
        yield ev.AccountRecalled(file=file, account=replace(row_ledger.account, mark=None), at_ns=at_ns)


def _heard(log: KernelLog, place: str) -> Iterator[ev.Event]:
    since_ns = log.listening_ns(place)
    if since_ns is not None:
        yield ev.KernelListening(directory=place.rpartition("/")[0], at_ns=since_ns)
    for process, act, at_ns in log.accesses(place):
        yield ev.KernelAccess(file=place, process=process, act=act, at_ns=at_ns)
    if log.drained_ns:
        yield ev.KernelDrained(at_ns=log.drained_ns)
