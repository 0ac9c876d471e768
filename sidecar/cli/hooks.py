"""`openclaw-sidecar hooks`: what tools need that announce their writes over HTTP."""

from typing import Annotated

import typer

from sidecar.cli import options
from sidecar.cli.output import print_json, print_note, print_raw
from sidecar.config.settings import Settings
from sidecar.config.token import make_token, read_token

app = typer.Typer(help="For tools that announce their writes over HTTP (POST /v1/hooks).", rich_markup_mode=None)


@app.callback()
def _common() -> None:
    """Keep `token` a command of its own while it is the only one."""


@app.command()
@options.settings_from(*options.OF_A_READER)
def token(
    *,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new one; the old one ends at once.")] = False,
    settings: Settings,
    as_json: options.Json = False,
) -> int:
    """Print the token, making it if there is none. The running sidecar takes it at once.

    It is kept in a file: hooks.token in the data directory, or where OPENCLAW_SIDECAR_HOOKS_TOKEN_FILE says.
    """
    path = settings.hooks_token_file
    found = None if rotate else read_token(path)
    secret = found or make_token(path)
    if as_json:
        print_json({"token": secret, "file": str(path), "made": found is None})
    else:
        print_raw(f"{secret}\n")
        if found is None:
            print_note(f"openclaw-sidecar: made {path}")
    return 0
