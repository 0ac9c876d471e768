"""Which state of a transcript is meant: of a file, that is its fingerprint.

Verdicts, policies and windows compare versions for equality and hand them on; what is in one, only custody knows.
"""

from __future__ import annotations

from sidecar.core.facts.fingerprint import Fingerprint

Version = Fingerprint
