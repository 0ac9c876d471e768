"""The running accounts of all transcripts, whatever they are made of."""

from collections.abc import Sequence

from sidecar.core.custody.account import AnyAccount
from sidecar.core.custody.files.ledgers import Ledgers
from sidecar.core.custody.rows.ledger import RowLedgers
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.rows import RowVersion, is_of_rows
from sidecar.core.facts.version import AnyChange, Version


class Transcripts:
    """`sidecar.core.custody.account.Accounts` of files and of rows."""

    def __init__(self, files: Ledgers, rows: RowLedgers) -> None:
        """Ask these."""
        self._files = files
        self._rows = rows

    def beginning(self, fence: Version, broken: Reason) -> AnyAccount:
        """See `sidecar.core.custody.account.Accounts`."""
        if isinstance(fence, RowVersion):
            return self._rows.beginning(fence, broken)
        return self._files.beginning(fence, broken)

    def changes(self, file: str) -> Sequence[AnyChange]:
        """See `sidecar.core.custody.account.Accounts`."""
        return self._rows.changes(file) if is_of_rows(file) else self._files.changes(file)

    def forget(self, file: str, reason: Reason, at_ns: int) -> None:
        """See `sidecar.core.custody.account.Accounts`."""
        self._files.forget(file, reason, at_ns)
        self._rows.forget(file, reason, at_ns)

    def abandon(self, link: str, at_ns: int) -> None:
        """See `sidecar.core.custody.account.Accounts`. Of a transaction nothing is reported before it is committed."""
        self._files.abandon(link, at_ns)
