"""The commands about the chain of the records."""

from functools import partial
from typing import Annotated, Any, Final

import typer

from sidecar.cli import options
from sidecar.cli.output import print_fields, print_line, print_note, print_rows, show
from sidecar.config.settings import Settings
from sidecar.store.audit import Head, HeadError
from sidecar.store.errors import StoreError
from sidecar.store.incidents import DATABASE_NAME
from sidecar.store.printable import clean
from sidecar.store.verify import Verification

audit_app = typer.Typer(help="Hold the records of incidents against their chain.", no_args_is_help=True)

HeadOption = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="SEQ:HASH",
        show_default=False,
        help="A head that has left the machine: of a page, an OTLP log record or `status`.",
    ),
]

_WITHOUT_HEAD: Final = (
    "Nothing in the chain is secret: who may write the store can make all of it anew, and only a head that left the"
    " machine before tells: --head SEQ:HASH, as in a page, an OTLP log record or `status`."
)


@audit_app.command()
@options.settings_from(*options.OF_A_READER)
def verify(*, head: HeadOption = None, settings: Settings, as_json: options.Json = False) -> int:
    """Say whether somebody else has changed the records of incidents, and which.

    Exit code 1 when something was changed; 2 when the records can't be read, or the head is none or of entries that
    were removed for their age. Works with the sidecar down.
    """
    try:
        wanted = None if head is None else Head.parse(head)
        with Verification(settings.data_dir / DATABASE_NAME, wanted) as found:
            found.run()
    except (HeadError, StoreError) as error:
        print_note(f"openclaw-sidecar: {error}")
        return 2
    show(_body(found, wanted), partial(_print, found, wanted), as_json=as_json)
    return 1 if not found.good else 2 if found.too_old else 0


def _body(found: Verification, wanted: Head | None) -> dict[str, Any]:
    return {
        "good": found.good,
        "head": str(found.head),
        "first": found.first,
        "entries": found.entries,
        "incidents": found.incidents - found.forgotten,
        "forgotten": found.forgotten,
        "compared_with": None if wanted is None or found.too_old else str(wanted),
        "findings": [
            {
                "kind": finding.kind.value,
                "incident": None if finding.incident is None else clean(finding.incident),
                "entry": finding.entry,
                "what": clean(finding.what),
            }
            for finding in found.findings
        ],
        "more_findings": found.more,
    }


def _print(found: Verification, wanted: Head | None) -> None:
    print_fields(
        [
            ("Records", f"{found.incidents - found.forgotten} incidents, {found.forgotten} removed for their age"),
            ("Chain", f"{found.entries} entries from {found.first} on"),
            ("Head", str(found.head)),
        ]
    )
    print_line()
    if not found.good:
        print_line("Somebody else has changed them:", style="bold red")
        print_rows((finding.kind.value, finding.what) for finding in found.findings)
        if found.more:
            print_line(f"and {found.more} more")
    elif found.too_old:
        print_line(f"As they were left; {wanted} is of an entry that was removed for its age: it can't be compared.")
    elif wanted is not None:
        print_line(f"As they were left, and {wanted} is in the chain.", style="green")
    else:
        print_line("As they were left, as far as the chain itself can tell.", style="green")
        print_line(_WITHOUT_HEAD)
