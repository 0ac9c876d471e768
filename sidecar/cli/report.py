"""The sidecar's status for people."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sidecar.cli.asking import Answer
from sidecar.cli.output import print_fields, print_line, print_note, print_rows
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.store.public import iso_utc

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def print_report(answer: Answer) -> None:
    """Print how the sidecar is, and what to mend. That none runs is said on standard error."""
    if not answer.running:
        for problem in answer.problems:
            print_note(f"openclaw-sidecar: {problem['what']}; {problem['remedy']}")
        return
    status = answer.status
    ready = "ready" if status.get("ready") else "not ready"
    print_line(f"openclaw-sidecar {_text(status, 'version')}, process {_text(status, 'pid')}, {ready}", style="bold")
    print_fields(_fields(status))
    _print_gateways(status.get("gateways", ()))
    print_line()
    if not answer.problems:
        print_line("No problems.", style="green")
        return
    print_line("Problems", style="bold red")
    for problem in answer.problems:
        print_rows([(problem["code"], problem["what"]), ("", f"-> {problem['remedy']}")])


def _fields(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    watch, pages = status.get("watch", {}), status.get("pages", {})
    seconds = max(0, time.time_ns() - status.get("started_at_ns", time.time_ns())) // NS_PER_SECOND
    return [
        ("Running for", _span(seconds)),
        ("Mode", _text(status, "mode")),
        *_orders(status),
        ("State directory", _text(status, "state_dir")),
        ("Data directory", _text(status, "data_dir")),
        ("Socket", _text(status, "socket")),
        ("HTTP", f"http://{_text(status, 'http')}"),
        ("Metrics", f"http://{_text(status, 'metrics')}/metrics"),
        ("Watching", _watching(watch)),
        ("Kernel evidence", _kernel(status.get("kernel", {}))),
        ("Fences set now", _text(status, "windows")),
        ("Incidents kept", _counts(status.get("incidents", {}))),
        ("Custody lost", _counts(status.get("custody_losses", {}))),
        ("Input refused", _counts(status.get("rejected", {}))),
        ("Pages", f"{_text(pages, 'sent')} sent, {_text(pages, 'pending')} pending, {_text(pages, 'failed')} given up"),
        ("Paged are", f"{_text(pages, 'destinations')} destination(s)"),
        *_records(status.get("records", {})),
        *_halts(status.get("halts", {})),
        *_exports(status.get("exports", {})),
    ]


def _watching(watch: Mapping[str, Any]) -> str:
    files = f"{_text(watch, 'directories')} directories, {_text(watch, 'files')} session files"
    return f"{files}, {watch['databases']} databases" if watch.get("databases") else files


def _records(records: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The head of their chain, for a later comparison, and what came of holding them against it."""
    if not records:
        return
    if records.get("to_look_at"):
        state = f"{_text(records, 'looked_at')} of {_text(records, 'to_look_at')} looked at"
    elif records.get("verified_at_ns"):
        state = f"verified at {iso_utc(records['verified_at_ns'])}"
    else:
        state = "not verified"
    changed = f", {records['changed']} changed by somebody else" if records.get("changed") else ""
    yield "Chain of records", f"head {_text(records, 'head')}, {state}{changed}"


def _halts(halts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Times in which the sidecar itself did not run, if there were any."""
    if halts.get("count"):
        last = f"the last until {iso_utc(halts['until_ns'])}"
        yield "Not running", f"{_text(halts, 'count')} time(s), {halts['seconds']:.1f} s in all, {last}"


def _exports(exports: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each signal that has a backend."""
    for signal, found in exports.items():
        state = "failing" if found.get("failing") else "well"
        counts = f"{_text(found, 'delivered')} exports taken, {_text(found, 'failed')} not"
        queue = f"{_text(found, 'waiting')} items wait, {_text(found, 'dropped')} given up"
        yield f"OTLP {signal}", f"{state}: {counts}; {queue}"


def _kernel(kernel: Mapping[str, Any]) -> str:
    if not kernel.get("wanted"):
        return "not asked for (--who kernel)"
    if not kernel.get("on"):
        return f"none: {_text(kernel, 'reason')}"
    counts = f"{_text(kernel, 'directories')} directories, {_text(kernel, 'events')} events"
    begun = "" if kernel.get("settled") else " (verdicts can't rest on it yet)"
    return f"proven by a canary{begun}; {counts}, {_text(kernel, 'unknown')} of processes that were gone already"


def _orders(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What operators have ordered: policy, budgets, pause; and what stops recovery by itself."""
    policy = status.get("policy") or {}
    digest = _text(policy, "digest")
    file = f"{policy['file']} ({digest}, {_text(policy, 'rules')} rules)" if policy.get("file") else digest
    yield "Policy", file + ("" if policy.get("good", True) else "; the file as it is now was refused")
    for budget in status.get("budgets", ()):
        left = f"{_text(budget, 'left')} of {_text(budget, 'limit')} recoveries left in"
        yield f"Budget, {_text(budget, 'scope')}", f"{left} {_span(int(budget.get('period_seconds', 0)))}"
    pause = status.get("pause")
    if pause:
        yield "Paused", f"until {iso_utc(pause['until_ns'])}: {_text(pause, 'reason')}"
    if status.get("storm_until_ns"):
        yield "Storm", f"recovery is stopped until {iso_utc(status['storm_until_ns'])}"


def _print_gateways(gateways: Sequence[Mapping[str, Any]]) -> None:
    print_line()
    print_line("Gateways" if gateways else "No gateway is running or linked.", style="bold")
    print_rows(
        (
            f"pid {_text(gateway, 'pid')}{_elsewhere(gateway)}",
            f"OpenClaw {gateway['version']}" if gateway.get("version") else "version not known",
            f"linked, adapter {_text(gateway, 'adapter')}" if gateway.get("linked") else "no preload",
            _verified(gateway),
            f"{_text(gateway, 'messages')} messages, {_text(gateway, 'gaps')} gaps, {_text(gateway, 'lost')} lost",
            _text(gateway, "reason"),
        )
        for gateway in gateways
    )


def _elsewhere(gateway: Mapping[str, Any]) -> str:
    """Where its pid is of: another namespace than the sidecar's has another one for it, or can't be seen at all."""
    if not gateway.get("visible", True):
        return " (its own word: not visible from here)"
    own = gateway.get("own_pid", 0)
    return f" (calls itself {own})" if own not in {0, gateway.get("pid")} else ""


def _verified(gateway: Mapping[str, Any]) -> str:
    """Whether what it says is believed, and for what."""
    if not gateway.get("linked") or "verified" not in gateway:
        return ""
    if gateway.get("verified"):
        return f"verified by {gateway['proof']}" if gateway.get("proof") else "verified"
    return f"NOT VERIFIED ({_text(gateway, 'doubt_code')})"


def _text(values: Mapping[str, Any], key: str) -> str:
    """A value of a status, which may come from another release than this command."""
    return str(values.get(key, "?"))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count) or "none"


def _span(seconds: int) -> str:
    """The two largest units."""
    parts: list[str] = []
    for length, unit in _UNITS:
        count, seconds = divmod(seconds, length)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
