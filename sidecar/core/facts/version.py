"""Which state of a transcript is meant, what was read of one, and what was done to one: of a file, or of rows.

Verdicts, policies and windows compare versions for equality, and hand versions and readings on; what is in one, only
custody knows.
"""

from sidecar.core.facts.change import Change
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.rows import RowChange, RowSnapshot, RowVersion, is_of_rows

Version = Fingerprint | RowVersion
"""The fingerprint of a session file, as the gateway's fence compares it; of rows, the generation and the last one."""

Reading = Snapshot | RowSnapshot
"""A transcript as it was read; its `version` was the same before and after."""

AnyChange = Change | RowChange
"""A reported change of a transcript."""


def parse_version(transcript: str, text: str) -> Version:
    """Read the wire form of a version of this transcript.

    Raises:
        FingerprintError: The text is no version of such a transcript.
    """
    return RowVersion.parse(text) if is_of_rows(transcript) else Fingerprint.parse(text)
