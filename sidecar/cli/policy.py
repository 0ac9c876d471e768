"""The commands about policies: check a file, ask what decided, print the schema."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from sidecar.cli import options
from sidecar.cli.listing import kept
from sidecar.cli.options import checked_word
from sidecar.cli.output import (
    print_fields,
    print_json,
    print_line,
    print_note,
    print_rows,
    print_text,
    print_whole,
    show,
)
from sidecar.config.errors import ConfigError
from sidecar.config.policy import PolicyError, read_policy
from sidecar.config.policyedit import CotenantRule, add_rule
from sidecar.config.policyfile import json_schema
from sidecar.config.settings import Settings
from sidecar.core.facts.reasons import Reason
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import Permission
from sidecar.core.verdict.incident import Incident
from sidecar.core.verdict.what_if import Reconsidered, WriterNow, reconsider
from sidecar.json_layout import layout
from sidecar.notify import words
from sidecar.store.printable import clean_json
from sidecar.store.public import reason_json
from sidecar.words import sentence

policy_app = typer.Typer(help="Check a policy file, and ask what a policy decides.", no_args_is_help=True)

PolicyFileArgument = Annotated[str, typer.Argument(metavar="FILE", help="The policy file.")]


@policy_app.command()
def check(*, file: PolicyFileArgument, as_json: options.Json = False) -> int:
    """Say whether a policy file is right, and everything that is wrong with it.

    Exit code 0 when a sidecar would take it, 1 when it would refuse it, 2 when there is no such file.
    """
    path = Path(file)
    try:
        policy = read_policy(path)
    except PolicyError as error:
        findings = error.findings
        if as_json:
            told = [{"line": f.line, "key": f.key, "reason": f.reason} for f in findings]
            print_json(clean_json({"file": file, "ok": False, "findings": told}))
        else:
            for finding in findings:
                print_line(finding.text(path))
        return 2 if error.unreadable else 1
    if as_json:
        body = {
            "file": file,
            "ok": True,
            "digest": policy.digest,
            "rules": [rule.name for rule in policy.rules],
            "needs_kernel": list(policy.needs_kernel),
            "cautions": list(policy.cautions),
            "findings": [],
        }
        print_json(clean_json(body))
    else:
        print_line(f"{file}: right; {len(policy.rules)} rule(s), default {policy.default.value}, {policy.digest}")
        if parts := ", ".join(policy.needs_kernel):
            print_line(f"{file}: {parts}: only with a sidecar that runs with --who kernel")
        for caution in policy.cautions:
            print_line(f"{file}: {caution}")
    return 0


@policy_app.command()
@options.settings_from("policy", "config")
def allow(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that the program gives itself (write --name).")],
    executables: Annotated[
        list[str] | None,
        typer.Option("--exe", metavar="GLOB", show_default=False, help="Only with this executable; may be repeated."),
    ] = None,
    uids: Annotated[
        list[int] | None,
        typer.Option("--uid", metavar="N", show_default=False, help="Only of this user; may be repeated."),
    ] = None,
    may: Annotated[Permission, typer.Option("--may", help="What it may do; each includes those ahead of it.")] = (
        Permission.APPEND
    ),
    token: Annotated[
        bool, typer.Option("--token", help="It must prove the hooks token. Without --exe or --uid it must anyway.")
    ] = False,
    add: Annotated[bool, typer.Option("--write", help="Add the rule to the policy file.")] = False,
    settings: Settings,
    as_json: options.Json = False,
) -> int:
    """Print the rule that makes a program outside of OpenClaw a co-tenant, or add it to the policy file.

    With --write the rest of the file stays as it is, and a file that would not be right is left alone (exit code 3). A
    running sidecar takes it at once.
    """
    rule = CotenantRule(
        name=checked_word(name, "NAME"),
        executables=tuple(executables or ()),
        uids=tuple(uids or ()),
        token=token,
        may=may,
    )
    if add and settings.policy is None:
        raise ConfigError(
            "--write", "there is no policy file; name the one that the sidecar runs with: --policy", usage=True
        )
    if add and settings.policy is not None:
        made = add_rule(settings.policy, rule)
        print_note(f"openclaw-sidecar: added to {settings.policy}; it is {made.digest} now")
    body = {"rule": rule.text, "file": str(settings.policy) if add else None, "written": add}
    show(clean_json(body), partial(print_text, rule.text), as_json=as_json)
    return 0


@policy_app.command()
def schema(*, _as_json: options.OnlyJson = False) -> int:
    """Print the JSON Schema of policy files, for editors."""
    print_text(layout(json_schema()))
    return 0


@policy_app.command()
@options.settings_from("policy", *options.OF_A_READER)
def explain(*, incident_id: options.IncidentId, settings: Settings, as_json: options.Json = False) -> int:
    """Say which rule decided about each writer of an incident, then and now, and what would change the end.

    Works with the sidecar down.
    """
    stored = kept(settings, incident_id)
    in_force = Policy() if settings.policy is None else read_policy(settings.policy)
    found = reconsider(stored.incident, in_force)
    source = "built-in" if settings.policy is None else str(settings.policy)
    body = clean_json(_body(stored.incident, in_force, found, source))
    show(body, partial(_print, stored.incident, in_force, found, source), as_json=as_json)
    return 0


def _body(incident: Incident, policy: Policy, found: Reconsidered, source: str) -> dict[str, Any]:
    lines = {rule.name: rule.line for rule in policy.rules}
    return {
        "incident": incident.incident_id,
        "verdict": incident.verdict.value,
        "outcome": incident.recovery.outcome.value,
        "hold": incident.recovery.hold.value,
        "rule": incident.rule,
        **reason_json(incident.reason),
        "policy": {"then": incident.policy, "now": policy.digest, "source": source},
        "writers": [
            {
                "kind": now.share.kind,
                "name": now.share.name,
                "pid": now.share.pid,
                "own": now.share.own,
                "did": now.request.did.value,
                "then": {"rule": now.share.rule, "may": now.share.may},
                "now": None
                if now.ruling is None
                else {
                    "rule": now.ruling.rule,
                    "line": lines.get(now.ruling.rule, 0),
                    "may": now.ruling.may.value,
                    "evidence": now.ruling.needs.value,
                    "allowed": now.allowed,
                    "unknown": now.ruling.unknown,
                },
            }
            for now in found.writers
        ],
        "what_would_change_it": [_full(change) for change in found.changes],
        "what_would_change_it_codes": [change.code.value for change in found.changes],
    }


def _print(incident: Incident, policy: Policy, found: Reconsidered, source: str) -> None:
    print_line(f"Incident {incident.incident_id}", style="bold")
    print_line()
    print_fields(
        [
            ("Verdict", f"{incident.verdict.value}: {sentence(incident.reason)}"),
            ("What was done", words.done(incident)),
            ("Held back by", incident.recovery.hold.value),
            ("Decided by", f"rule {incident.rule}" if incident.rule else "the evidence, not by a rule"),
            ("Policy then", incident.policy or "not on record"),
            ("Policy now", f"{policy.digest} ({source})"),
        ]
    )
    if found.writers:
        print_line()
        print_line("Writers: what they did, what the policy said then, what it says now", style="bold")
        print_rows(_row(now) for now in found.writers)
    print_line()
    print_line("What would change it", style="bold")
    for number, change in enumerate(found.changes, start=1):
        print_whole(f"  {number}. {_full(change)}")


def _full(change: Reason) -> str:
    """A sentence that stands by itself."""
    words = sentence(change)
    return f"{words[:1].upper()}{words[1:]}."


def _row(now: WriterNow) -> tuple[str, str, str, str]:
    who = now.request.writer.label()
    if now.ruling is None:
        return who, now.request.did.value, "the fenced run itself", "needs no leave"
    then = f"then {now.share.rule}: {now.share.may}" if now.share.rule else "then not asked"
    verdict = "allowed" if now.allowed else "not allowed"
    unknown = ", not all that it asks for is known" if now.ruling.unknown else ""
    return who, now.request.did.value, then, f"now {now.ruling.rule}: {now.ruling.may.value}, {verdict}{unknown}"
