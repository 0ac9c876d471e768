"""From the shell into a command and back: exit codes, and one line for each error."""

import io
import os
import sys
from collections.abc import Sequence
from enum import IntEnum

import typer

from sidecar.cli.app import app
from sidecar.cli.custody import SessionError
from sidecar.cli.doctor import PackageError
from sidecar.cli.output import print_note
from sidecar.cli.pausing import PauseUsageError
from sidecar.config.errors import ConfigError
from sidecar.config.policyedit import CotenantRule
from sidecar.core.errors import SidecarError
from sidecar.cotenant.errors import CotenantError, NotDeclaredError
from sidecar.store.recordings import ExportError
from sidecar.store.since import SinceError

PROGRAM = "openclaw-sidecar"

_USAGE = (PauseUsageError, SinceError, PackageError, SessionError, ExportError)


class Exit(IntEnum):
    """The exit codes of every command."""

    FINE = 0
    FINDING = 1
    BAD_USAGE = 2
    FAILED_START = 3
    INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What follows the program's name; None for what the shell gave.

    Returns:
        The exit code, see `Exit`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A locale that lacks a character is no reason to print nothing.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        # Of what typer prints by itself, the line that matters.
        return _failed(f"{error.format_message().rstrip('. ')}; see {PROGRAM} --help", Exit.BAD_USAGE)
    except NotDeclaredError as error:
        code = _failed(str(error), Exit(error.exit_code))
        for line in CotenantRule(name=error.name).text.splitlines():
            print_note(line)
        return code
    except CotenantError as error:
        return _failed(str(error), Exit(error.exit_code))
    except SidecarError as error:
        usage = isinstance(error, _USAGE) or (isinstance(error, ConfigError) and error.usage)
        return _failed(str(error), Exit.BAD_USAGE if usage else Exit.FAILED_START)
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    finally:
        _flush()
    return int(code or Exit.FINE)


def _failed(text: str, code: Exit) -> Exit:
    print_note(f"{PROGRAM}: {text}")
    return code


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Without this the interpreter complains when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
