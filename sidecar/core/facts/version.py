"""Which state of a transcript is meant, and what was read of one: of a file, its fingerprint and a snapshot.

Verdicts, policies and windows compare versions for equality, and hand versions and readings on; what is in one, only
custody knows.
"""

from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.fingerprint import Fingerprint

Version = Fingerprint
"""The fingerprint of a session file, as the gateway's fence compares it."""

Reading = Snapshot
"""A session file as it was read; its `version` was the same before and after."""
