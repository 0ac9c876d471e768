"""Lost events: counted, logged, and given to the core, for which custody is unknown then (rule 5)."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from sidecar.core import events as ev
from sidecar.core.engine import Engine
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.rows import is_of_rows
from sidecar.telemetry.facade import Telemetry
from sidecar.watch.reading import fingerprint_of
from sidecar.words import sentence

NARROW: Final = frozenset({Loss.OVERFLOW, Loss.KERNEL_OVERFLOW, Loss.SUSPENDED})
"""What is lost are events of the past, so that a file which still is as it was has lost none. Of reports that can't be
said: a call that was not announced may be under way."""

log = structlog.get_logger("sidecar")


@dataclass(eq=False, slots=True)
class Losses:
    """Takes every loss; ``_tell`` hands an event to the core, and ``counts`` has the losses of each class."""

    _engine: Engine
    _tell: Callable[[ev.Event], None]
    _telemetry: Telemetry
    _now_ns: Callable[[], int]
    counts: Counter[str] = field(default_factory=Counter, init=False)

    def lose(self, loss: Loss, reason: Reason, file: str = "") -> None:
        """Custody of one file, or of all, is unknown from now on."""
        self.counts[loss.value] += 1
        log.warning("custody_lost", reason=loss.value, code=reason.code.value, detail=sentence(reason))
        if loss is Loss.OVERFLOW:
            self._telemetry.overflow()
        at_ns = self._now_ns()
        touched = [file] if file or loss not in NARROW else self._touched(loss)
        for path in touched:
            self._tell(ev.AccountBroken(loss=loss, reason=reason, at_ns=at_ns, file=path))
        if not touched:
            self._telemetry.spared(loss)

    def _touched(self, loss: Loss) -> list[str]:
        """The files that are not as they were: what was lost is about these.

        The account of rows rests on reports and readings alone, and the counter of commits tells when to read.
        """
        fences = self._engine.registry.windows.values()  # nothing is lost with the word of those that are not believed
        windows = {w.file for w in fences if loss is Loss.SUSPENDED or not is_of_rows(w.file)}
        files = set(self._engine.files.sessions) | windows
        return [file for file in sorted(files) if not self._is_untouched(file)]

    def _is_untouched(self, file: str) -> bool:
        try:
            return self._engine.files.is_untouched(file, fingerprint_of(Path(file)))
        except OSError:
            return False
