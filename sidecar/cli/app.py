"""The commands. Each resolves its settings, calls what does the work, and returns an exit code."""

import os
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sidecar import __version__
from sidecar.cli import options, tokens
from sidecar.cli.asking import ask
from sidecar.cli.audit import audit_app
from sidecar.cli.custody import custody_of, print_custody, print_verified
from sidecar.cli.doctor import examine, print_finding
from sidecar.cli.explain import print_story
from sidecar.cli.hook import Hook, HookFormat, preload_path
from sidecar.cli.listing import kept, print_listing
from sidecar.cli.output import print_json, print_note, print_text, print_whole, show
from sidecar.cli.pausing import pause as pause_recovery
from sidecar.cli.pausing import resume as resume_recovery
from sidecar.cli.policy import policy_app
from sidecar.cli.replaying import print_replay, replay_file, say_why_not
from sidecar.cli.report import print_report
from sidecar.cli.write import is_well, print_written, write_session
from sidecar.config.resolve import Flags, resolve
from sidecar.config.settings import Settings
from sidecar.store.errors import StoreMissingError
from sidecar.store.incidents import DATABASE_NAME
from sidecar.store.public import incident_json
from sidecar.store.reader import IncidentReader
from sidecar.store.recordings import exported
from sidecar.store.since import parse_since

app = typer.Typer(
    help="Observability and auto-recovery sidecar for OpenClaw gateways."
    " Exit codes: 0 fine, 1 a finding, 2 bad usage, 3 failed start.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(tokens.hooks, name="hooks")
app.add_typer(tokens.api, name="api")
app.add_typer(policy_app, name="policy")
app.add_typer(audit_app, name="audit")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        print_whole(f"openclaw-sidecar {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options ahead of the command."""


@app.command()
def run(
    *,
    state_dir: options.StateDir = None,
    data_dir: options.DataDir = None,
    socket: options.Socket = None,
    http: options.Http = None,
    metrics: options.Metrics = None,
    observe: options.Observe = False,
    notify: options.Notify = None,
    who: options.WhoWrote = None,
    simulate_loss: options.SimulateLoss = None,
    policy: options.Policy = None,
    gateway_uid: options.GatewayUid = None,
    config: options.Config = None,
) -> int:
    """Run the sidecar of one gateway until SIGTERM or Ctrl-C."""
    flags = Flags(
        state_dir=state_dir,
        data_dir=data_dir,
        socket=socket,
        http=http,
        metrics=metrics,
        observe=observe or None,
        notify=tuple(notify or ()),
        who=who,
        simulate_loss=simulate_loss,
        policy=policy,
        gateway_uid=tuple(gateway_uid or ()),
        config=config,
    )
    settings = resolve(flags, os.environ)
    from sidecar.service import run as run_service  # noqa: PLC0415 - the other commands start without all of it

    return run_service(settings)


@app.command()
@options.settings_from("state_dir", "socket", "config")
def hook(*, form: options.Format = HookFormat.PATH, settings: Settings, as_json: options.Json = False) -> int:
    """Print where the preload is, or the lines to add to a gateway."""
    made = Hook(preload_path(), settings)
    text = made.text(form)
    body = {"path": str(made.preload), "node_option": made.node_option, "format": form.value, "text": text}
    show(body, partial(print_text, text), as_json=as_json)
    return 0


@app.command()
@options.settings_from(*options.OF_A_READER)
def status(*, settings: Settings, as_json: options.Json = False) -> int:
    """Show how the running sidecar is, and what to mend.

    Exit code 1 when there is something to mend, or none runs.
    """
    answer = ask(settings)
    body = {"running": answer.running, "problems": list(answer.problems)} | answer.status
    show(body, partial(print_report, answer), as_json=as_json)
    return 1 if answer.problems else 0


@app.command()
@options.settings_from(*options.OF_A_READER)
def incidents(
    *,
    session: options.Session = None,
    since: options.Since = None,
    verdict: options.OneVerdict = None,
    limit: options.Limit = 100,
    settings: Settings,
    as_json: options.Json = False,
) -> int:
    """List incidents, newest first.

    Works with the sidecar down.
    """
    since_ns = None if since is None else parse_since(since, time.time_ns())
    wanted = None if session is None else options.session_name(session)
    try:
        with IncidentReader(settings.data_dir / DATABASE_NAME) as reader:
            found = reader.find(wanted, since_ns, verdict, limit)
    except StoreMissingError as error:
        # A sidecar that has not run yet has no incidents, and that is no failure. A wrong directory looks the same.
        print_note(f"openclaw-sidecar: {error}")
        found = []
    show({"incidents": [incident_json(stored) for stored in found]}, partial(print_listing, found), as_json=as_json)
    return 0


@app.command()
@options.settings_from(*options.OF_A_READER)
def explain(*, incident_id: options.IncidentId, settings: Settings, as_json: options.Json = False) -> int:
    """Tell the story of one incident.

    What happened, to whom, what was done and why, the timeline, who wrote, and what to do. Works with the sidecar down.
    """
    stored = kept(settings, incident_id)
    show(incident_json(stored), partial(print_story, stored), as_json=as_json)
    return 0


@app.command()
@options.settings_from(*options.OF_A_READER)
def export(
    *,
    incident_id: options.IncidentId,
    paths: options.Paths = False,
    settings: Settings,
    _as_json: options.OnlyJson = False,
) -> int:
    """Print an incident as JSON to be given away: the events that led to it, with digests in place of bytes.

    Paths are hashed, session keys were before. Works with the sidecar down.
    """
    stored = kept(settings, incident_id)
    with IncidentReader(settings.data_dir / DATABASE_NAME) as reader:
        recording = reader.recording(stored.incident.incident_id)
    body = exported(stored.incident, recording, paths=paths)
    print_json(body)
    say_why_not(body)
    return 0


@app.command()
def replay(*, file: options.ExportedFile, as_json: options.Json = False) -> int:
    """Judge an exported incident again, with this release.

    Exit code 1 when the verdict or what followed from it differs; 2 when the file is no exported incident.
    """
    body = replay_file(Path(file))
    show(body, partial(print_replay, body), as_json=as_json)
    return 0 if body["same"] else 1


@app.command()
@options.settings_from(*options.OF_A_READER)
def custody(*, session: options.SessionName, settings: Settings, as_json: options.Json = False) -> int:
    """Show who wrote which bytes of a session file, or which rows of a session in a database.

    Each range with its writer, time, digest and grade of evidence. With the sidecar down: what the last one kept.
    """
    body = custody_of(settings, session)
    show(body, partial(print_custody, body), as_json=as_json)
    return 0


@app.command()
@options.settings_from(*options.OF_A_READER)
def verify(*, session: options.SessionName, settings: Settings, as_json: options.Json = False) -> int:
    """Read a session again and say whether it is what its chain of custody says, to the byte or the row.

    Exit code 1 when it differs, with the place, or could not be read; 2 when no session has that name.
    """
    body = custody_of(settings, session)
    without_ranges = {name: value for name, value in body.items() if name != "ranges"}
    show(without_ranges, partial(print_verified, body), as_json=as_json)
    return 0 if body["verified"]["same"] else 1


@app.command()
@options.settings_from(*options.OF_A_READER)
def pause(*, length: options.For, reason: options.Reason, settings: Settings, as_json: options.Json = False) -> int:
    """Stop recovery for a while; verdicts and telemetry go on.

    Kept over restarts. Works with the sidecar down.
    """
    return pause_recovery(settings, length, reason, as_json=as_json)


@app.command()
@options.settings_from(*options.OF_A_READER)
def resume(*, settings: Settings, as_json: options.Json = False) -> int:
    """End a pause."""
    return resume_recovery(settings, as_json=as_json)


@app.command()
def doctor(*, gateway: options.Gateway, node: options.NodeProgram = "node", as_json: options.Json = False) -> int:
    """Try the adapter for an installed OpenClaw, without a gateway.

    Exit code 1 when it has a fence that the preload would leave untouched.
    """
    finding = examine(gateway, node)
    print_finding(finding, as_json=as_json)
    return 0 if finding.ok else 1


@app.command()
@options.settings_from("socket", *options.OF_A_READER)
def write(
    *,
    session: options.SessionArgument,
    command: options.Command,
    name: options.WriterName = None,
    edit: options.Edit = False,
    without_sidecar: options.WithoutSidecar = False,
    settings: Settings,
    as_json: options.Json = False,
) -> int:
    """Append what COMMAND prints to a session, as a co-tenant.

    Whole JSON records only, one in a line; id, parentId and timestamp are filled in. COMMAND runs first, then the
    session lock is taken as the gateway takes it. Exit code 1 when COMMAND failed or its records were refused, 3 when
    there is no sidecar, its policy names no such program, or the lock was not had; nothing is written then, unless
    standard error says otherwise. Exit code 1 also when it was written and standard error says what to look at.
    """
    order, written = write_session(settings, session, command, name=name, editing=edit, announced=not without_sidecar)
    print_written(order, written, as_json=as_json)
    return 0 if is_well(order, written) else 1


@app.command()
def demo(*, release: options.Release = None, once: options.Once = False, as_json: options.Json = False) -> int:
    """Show on a real gateway what the sidecar does."""
    from sidecar.demo.main import run_demo  # noqa: PLC0415 - only for this command

    return run_demo(release, once=once, as_json=as_json)
