"""The running accounts of all session files."""

from collections.abc import Container, Sequence
from typing import Final

from sidecar.core.custody.files.account import FileAccount
from sidecar.core.custody.files.ledger import Ledger
from sidecar.core.facts.change import Change
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.reasons import Reason

IDLE_NS: Final = 6 * 3600 * 1_000_000_000
"""The account of a file that no one has spoken of for so long is put away; its chain was kept."""

MAX_LEDGERS: Final = 500
"""Accounts that are kept at hand, beside those of files with an open window."""


class Ledgers(dict[str, Ledger]):
    """A `Ledger` for each session file, by its path."""

    def __missing__(self, file: str) -> Ledger:
        """The account of a file begins with the first word of it."""
        made = self[file] = Ledger()
        return made

    def beginning(self, fence: Fingerprint, broken: Reason) -> FileAccount:
        """See `sidecar.core.custody.account.Accounts`."""
        return FileAccount(head=fence, broken=broken)

    def changes(self, file: str) -> Sequence[Change]:
        """See `sidecar.core.custody.account.Accounts`."""
        return self[file].account.changes

    def forget(self, file: str, reason: Reason, at_ns: int) -> None:
        """See `sidecar.core.custody.account.Accounts`."""
        for path, ledger in self.items():
            if file in {"", path}:
                ledger.forget(reason, at_ns)

    def abandon(self, link: str, at_ns: int) -> None:
        """See `sidecar.core.custody.account.Accounts`."""
        for ledger in self.values():
            ledger.abandon(link, at_ns)

    def prune(self, fenced: Container[str], at_ns: int) -> None:
        """Put away the accounts of files without a window that were not spoken of for long, and the oldest of many."""
        idle = sorted((file for file in self if file not in fenced), key=lambda file: self[file].touched_ns)
        many = max(0, len(self) - MAX_LEDGERS)
        for count, file in enumerate(idle):
            if count < many or at_ns - self[file].touched_ns > IDLE_NS:
                del self[file]
