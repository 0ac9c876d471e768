"""`openclaw-sidecar hooks token` and `api token`: the secrets of those who ask over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli import options
from sidecar.cli.output import print_json, print_note, print_whole
from sidecar.config.settings import Settings
from sidecar.config.token import TokenKind, make_token, read_token

hooks = typer.Typer(help="For tools that announce their writes over HTTP (POST /v1/hooks).", rich_markup_mode=None)
api = typer.Typer(help="For those who read the API from elsewhere.", rich_markup_mode=None)

_Rotate = Annotated[bool, typer.Option("--rotate", help="Make a new one; the old one ends at once.")]


@hooks.callback()
@api.callback()
def _common() -> None:
    """Keep `token` a command of its own while it is the only one."""


@hooks.command(name="token")
@options.settings_from(*options.OF_A_READER)
def hooks_token(*, rotate: _Rotate = False, settings: Settings, as_json: options.Json = False) -> int:
    """Print the token, making it if there is none. The running sidecar takes it at once.

    It is kept in a file: hooks.token in the data directory, or where OPENCLAW_SIDECAR_HOOKS_TOKEN_FILE says.
    """
    return _print_token(TokenKind.HOOKS, settings.hooks_token_file, rotate=rotate, as_json=as_json)


@api.command(name="token")
@options.settings_from(*options.OF_A_READER)
def api_token(*, rotate: _Rotate = False, settings: Settings, as_json: options.Json = False) -> int:
    """Print the token, making it if there is none. From then on all who read the API need it, on loopback, too.

    It is kept in a file: api.token in the data directory, or where OPENCLAW_SIDECAR_API_TOKEN_FILE says. The running
    sidecar takes it at once.
    """
    return _print_token(TokenKind.API, settings.api_token_file, rotate=rotate, as_json=as_json)


def _print_token(kind: TokenKind, path: Path, *, rotate: bool, as_json: bool) -> int:
    found = None if rotate else read_token(path, kind)
    secret = found or make_token(path, kind)
    if as_json:
        print_json({"token": secret, "file": str(path), "made": found is None})
    else:
        print_whole(secret)
        if found is None:
            print_note(f"openclaw-sidecar: made {path}")
    return 0
