"""The options that several commands share."""

import os
import re
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.models import OptionInfo

from sidecar.cli.hook import HookFormat
from sidecar.config.errors import ConfigError
from sidecar.config.resolve import Flags, resolve
from sidecar.core.verdict.judge import Verdict


def _option(metavar: str, text: str, *names: str) -> OptionInfo:
    """An option whose default is told in its text, if at all."""
    option: OptionInfo = typer.Option(*names, metavar=metavar, show_default=False, help=text)
    return option


StateDir = Annotated[
    str | None,
    _option(
        "DIR", "OpenClaw's state directory. [env: OPENCLAW_SIDECAR_STATE_DIR, OPENCLAW_STATE_DIR; default: ~/.openclaw]"
    ),
]
DataDir = Annotated[
    str | None,
    _option(
        "DIR",
        "The sidecar's own directory. [env: OPENCLAW_SIDECAR_DATA_DIR; default: one for each state directory"
        " below ~/.local/state/openclaw-sidecar]",
    ),
]
Socket = Annotated[
    str | None,
    _option(
        "PATH",
        "Unix socket on which gateways link. [env: OPENCLAW_SIDECAR_SOCKET; default: openclaw-sidecar.sock in the"
        " state directory]",
    ),
]
Config = Annotated[str | None, _option("FILE", "TOML file with any of these settings. [env: OPENCLAW_SIDECAR_CONFIG]")]
Http = Annotated[
    str | None,
    _option(
        "HOST:PORT",
        "Where the API listens; port 0 for any that is free. Beyond loopback it needs a token: `api token`."
        " [env: OPENCLAW_SIDECAR_HTTP; default: 127.0.0.1:9465]",
    ),
]
Metrics = Annotated[
    str | None,
    _option(
        "HOST:PORT",
        "Where scrapers and probes ask for /metrics, /healthz and /readyz; port 0 for any that is free."
        " [env: OPENCLAW_SIDECAR_METRICS; default: 127.0.0.1:9464]",
    ),
]
Observe = Annotated[
    bool, typer.Option("--observe", help="Verdicts and telemetry only, no recovery. [env: OPENCLAW_SIDECAR_OBSERVE]")
]
Notify = Annotated[
    list[str] | None,
    _option("URL", "Apprise URL that is paged; may be repeated. [env: OPENCLAW_SIDECAR_NOTIFY, parted by spaces]"),
]
WhoWrote = Annotated[
    str | None,
    _option(
        "reports|kernel",
        "Where it is known from who wrote: the gateways' reports, or these and the kernel (fanotify; needs"
        " CAP_SYS_ADMIN). [env: OPENCLAW_SIDECAR_WHO; default: reports]",
        "--who",
    ),
]
GatewayUid = Annotated[
    list[str] | None,
    _option(
        "UID",
        "User whose gateways may link besides the sidecar's own; may be repeated. The socket is then open to every"
        " user, and the kernel says who connects. [env: OPENCLAW_SIDECAR_GATEWAY_UID, parted by spaces]",
    ),
]
Policy = Annotated[
    str | None,
    _option(
        "FILE",
        "TOML file with the policy, see docs/policy.md. [env: OPENCLAW_SIDECAR_POLICY; default: the built-in one]",
    ),
]
SimulateLoss = Annotated[str | None, typer.Option("--simulate-loss", metavar="SHARE", hidden=True)]
Format = Annotated[HookFormat, typer.Option("--format", help="Where the gateway runs.")]
Session = Annotated[str | None, _option("S", "A session file's path or name, or a session key.")]
Since = Annotated[str | None, _option("T", "A duration up to now such as 2h, or an ISO 8601 time.")]
OneVerdict = Annotated[Verdict | None, typer.Option(show_default=False, help="Only incidents with this verdict.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="At most so many, the newest ones.")]
IncidentId = Annotated[str, typer.Argument(metavar="ID", help="As `incidents` lists it.")]
Paths = Annotated[bool, typer.Option("--paths", help="Leave file names and executables as they are.")]
ExportedFile = Annotated[str, typer.Argument(metavar="FILE", help="As `export` prints it.")]
SessionName = Annotated[
    str, typer.Argument(metavar="SESSION", help="A session file's path or name, a session key, or the hash of one.")
]
For = Annotated[str, typer.Option("--for", metavar="TIME", help="How long, such as 30m, 2h or 1d.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for those who find the sidecar paused.")]
Release = Annotated[
    str | None,
    _option("VERSION", "The release of OpenClaw to fetch from npm and play on. [default: 2026.5.18]", "--release"),
]
Once = Annotated[bool, typer.Option("--once", help="End by itself instead of staying until Ctrl-C.")]
Gateway = Annotated[
    str,
    _option(
        "PATH",
        "An installed OpenClaw: its package directory, its openclaw.mjs, or a node_modules that holds it.",
        "--gateway",
    ),
]
NodeProgram = Annotated[str, typer.Option("--node", metavar="PATH", help="The Node.js that the gateway runs on.")]
SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="A session file's path, a session id, or a key as in sessions.json.")
]
Command = Annotated[
    list[str], typer.Argument(metavar="-- COMMAND [ARGS]...", help="Prints records, one JSON object in a line.")
]
WriterName = Annotated[str | None, _option("NAME", "Who writes. [default: COMMAND's own name]", "--name")]
Edit = Annotated[
    bool, typer.Option("--edit", help="COMMAND edits a copy of the session, named by OPENCLAW_SIDECAR_SESSION_FILE.")
]
WithoutSidecar = Annotated[
    bool, typer.Option("--without-sidecar", help="Announce nothing: the bytes are an unknown writer's.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
OnlyJson = Annotated[bool, typer.Option("--json", help="Taken as everywhere; JSON is what it prints anyway.")]


_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SETTINGS: Final = {
    "state_dir": StateDir,
    "data_dir": DataDir,
    "socket": Socket,
    "policy": Policy,
    "config": Config,
}
OF_A_READER: Final = ("state_dir", "data_dir", "config")
"""The settings of a command that looks at what a sidecar has written."""


def settings_from(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Has a command called with its ``settings``: the shell is offered the options of these names in their place.

    The command raises ConfigError when a setting can't be used.
    """

    def with_options(command: Callable[..., int]) -> Callable[..., int]:
        @wraps(command)
        def run(**given: Any) -> int:  # noqa: ANN401 - what the shell gives to any command
            flags = Flags(**{name: given.pop(name) for name in names})
            return command(settings=resolve(flags, os.environ), **given)

        offered: list[Parameter] = []
        for own in signature(command).parameters.values():
            if own.name == "settings":
                offered += [Parameter(name, own.kind, default=None, annotation=_SETTINGS[name]) for name in names]
            else:
                offered.append(own)
        run.__signature__ = Signature(offered)  # type: ignore[attr-defined] # typer reads it
        return run

    return with_options


def checked_word(text: str, origin: str) -> str:
    """A name that a program gives itself.

    Raises:
        ConfigError: It is no word.
    """
    if not _WORD.fullmatch(text):
        raise ConfigError(origin, "must be a word of letters, digits, dots, dashes, at most 64 of them", usage=True)
    return text


def session_name(text: str) -> str:
    """What to look for: a path that exists is written as the gateway writes it, its directory's links followed."""
    path = Path(text)
    return str(path.parent.resolve() / path.name) if "/" in text and path.parent.is_dir() else text
