"""The part of docs/compatibility.md about sessions in a database."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from tests.compat.rows.measure import MeasuredRows, RowCell
from tests.compat.rows.scenarios import GATEWAY, STRANGER, Scenario

_TITLES: Final = {
    GATEWAY: "Sessions in a database: in the gateway's process",
    STRANGER: "Sessions in a database: by a process without a link",
}

_HEAD: Final = """\
## Sessions in a database

From 2026.8.1 on a session is rows of the agent's `openclaw-agent.sqlite`, and there is no session lock. The change
comes while the model is called, and the run appends two more messages after it; where a tool runs, its result and the
answer. In each cell: what the release does by itself → what it does with preload and sidecar, and the verdict of the
incident where there is one. Measured on {date}.

| word | meaning |
|---|---|
| ok | the run goes on, every message is on the one line of history |
| beside | the run goes on, but a message is beside the line of history |
| cut | the run goes on, but the line of history ends at a row that is gone |
| conflict | the release stops the run: newer rows forbid its answer |
| rebound | the release stops the run: the session is another run's now |
| projection | the release fails the run as it reads again what the run had appended |
| busy | the release gives up after 5 s without the write lock |
| stored | the row that the run was stopped at is stored all the same |
| recovered | the release's no became a yes, the run goes on, nothing off the line of history |
| ! | and a person is paged, once |

- Real, from the installed package and unchanged: `SessionManager` with its guard (`guardSessionManager`) and writer
  context (`withOwnedSessionTranscriptWrites`), the appends of others (`appendTranscriptMessage`,
  `appendInjectedAssistantMessageToTranscript`), the session's entry (`replaceSessionEntry`), and all that they import.
- Driven: the run between them, in `tests/compat/rows/harness/run.mjs`, which opens, claims and appends as the bundle's
  `runEmbeddedAttempt` does; there is no agent and no model in it. A typed command is what the gateway writes for one:
  the input, and its own reply with the same key. Whole gateways are run by `tests/e2e`.
- A process without a link writes with SQLite itself, in one transaction. It holds the write lock from the moment that
  the run comes to append.
"""

_FACTS: Final = """\
## Sessions in a database: packages

*adapter*: what the preload has chosen. *doctor*: what `openclaw-sidecar doctor` says of the bundle, after the
self-check on a database in memory where there is anything to check. *asks*: the bundle asks whether newer rows forbid
an answer. *schema*: `user_version` of the agent's database. *zstd*: long rows were stored compressed. *hook points*:
the kinds of work that the preload finds the function of, and so can name. *write*: what `openclaw-sidecar write` does
with a session file that is left over.
"""


def part(measured: Sequence[MeasuredRows], today: date) -> str:
    """The whole part."""
    parts = [_HEAD.format(date=today.isoformat())]
    for scenarios, title in _TITLES.items():
        lines = [_line(["release", *(s.name for s in scenarios)]), "|---" * (len(scenarios) + 1) + "|"]
        lines += [row(release, scenarios) for release in measured]
        parts.append(f"## {title}\n\n" + "\n".join(lines) + "\n")
    headings = ("release", "adapter", "doctor", "asks", "schema", "zstd", "hook points", "write", "npm integrity")
    lines = [_line(headings), "|---" * len(headings) + "|", *map(package_row, measured)]
    parts.append(_FACTS + "\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def row(release: MeasuredRows, scenarios: Sequence[Scenario]) -> str:
    """A release's line in one of the two tables."""
    cells = [f"{_came_of(release.stock[s.name])} → {_with_sidecar(release.guarded[s.name])}" for s in scenarios]
    return _line([release.version, *cells])


def package_row(release: MeasuredRows) -> str:
    """A release's line in the table of packages."""
    return _line(
        [
            release.version,
            release.adapter,
            release.doctor,
            _yes(release.asks),
            str(release.schema),
            _yes(release.compressed),
            ", ".join(release.work),
            release.write,
            f"`{release.integrity}`",
        ]
    )


def rows_of(release: MeasuredRows) -> list[str]:
    """All lines of a release that the document must have."""
    return [*(row(release, scenarios) for scenarios in _TITLES), package_row(release)]


def _yes(value: bool) -> str:  # noqa: FBT001 - it is what is told
    return "yes" if value else "no"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _came_of(cell: RowCell) -> str:
    if cell.error:
        return f"{cell.error}, stored" if cell.stored else cell.error
    if cell.cut:
        return "cut"
    return "beside" if cell.beside else "ok"


def _with_sidecar(cell: RowCell) -> str:
    recovered = any(told.outcome == "effective" for told in cell.incidents)
    came = "recovered" if recovered and _came_of(cell) == "ok" else _came_of(cell)
    return ", ".join([came, *(told.verdict for told in cell.incidents)]) + "!" * cell.pages
