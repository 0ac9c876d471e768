"""A rule that makes a program outside of OpenClaw a co-tenant: as text, and added to a policy file."""

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.config.policy import Finding, PolicyError, parse_policy
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import Permission

_NEW_FILE_MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class CotenantRule:
    """What one program may do, and how it is known.

    Attributes:
        name: The name that it gives itself, a word; the rule's name as well.
        executables: Patterns of its executable; empty for any.
        uids: Its users; empty for any.
        token: It must prove the hooks token. It must, too, where nothing but its name is asked for.
    """

    name: str
    executables: Sequence[str] = ()
    uids: Sequence[int] = ()
    token: bool = False
    may: Permission = Permission.APPEND

    @property
    def text(self) -> str:
        """The lines of the policy, the last one ended."""
        token = self.token or not (self.executables or self.uids)
        lines = [
            "[[rule]]",
            f"name = {json.dumps(self.name)}",
            'kinds = ["declared"]',
            f"names = [{json.dumps(self.name)}]",
            # A JSON string is a TOML string: of characters outside of ASCII, too, unless they are escaped in halves.
            *([f"executables = {json.dumps(self.executables, ensure_ascii=False)}"] if self.executables else []),
            *([f"uids = {json.dumps(self.uids)}"] if self.uids else []),
            *(["token = true"] if token else []),
            f'may = "{self.may.value}"',
        ]
        return "\n".join(lines) + "\n"


def add_rule(path: Path, rule: CotenantRule) -> Policy:
    """Add the rule behind all that the file has; a file that is not there is made.

    Returns:
        The policy that the file is now.

    Raises:
        PolicyError: The file can't be used, would not be right with the rule, or can't be written. It is as it was.
    """
    target = path.resolve()  # what a link names is replaced, and the link stays
    before = _read(target)
    if before is not None:
        parse_policy(path, before)
    after = _joined(before or b"", rule.text.encode("utf-8", "surrogateescape"))
    made = parse_policy(path, after)
    fresh = target.with_name(f"{target.name}.{secrets.token_hex(4)}.new")
    try:
        mode = _NEW_FILE_MODE if before is None else target.stat().st_mode & 0o7777
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(after)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if _read(target) != before:
            raise PolicyError(path, [Finding(0, "", "was changed by somebody else meanwhile; try again")])
        fresh.replace(target)
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        fresh.unlink(missing_ok=True)
    return made


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error


def _joined(before: bytes, rule: bytes) -> bytes:
    """An empty line between them; what was there stays as it was."""
    if not before:
        return rule
    return before + (b"\n" if before.endswith(b"\n") else b"\n\n") + rule


def _unusable(path: Path, error: OSError) -> PolicyError:
    return PolicyError(path, [Finding(0, "", f"{error.strerror or error}; check --policy")], unreadable=True)
