"""Looks at every known file now and then: a backstop for lost file events."""

from typing import Final

from sidecar.intake.files import FileIntake
from sidecar.job import Job
from sidecar.service.yielding import TimeSlice
from sidecar.watch.watcher import Watcher

RECONCILE_SECONDS: Final = 60


class Reconcile:
    """Compares the fingerprints of the watched files with those last seen."""

    def __init__(self, watcher: Watcher, file_intake: FileIntake) -> None:
        """``watcher`` knows the files, ``file_intake`` their fingerprints."""
        self._watcher = watcher
        self._file_intake = file_intake
        self.jobs = (Job("reconcile", RECONCILE_SECONDS, self.look),)

    async def look(self) -> None:
        """Look at every known file, whether or not the kernel reported anything."""
        slice_ = TimeSlice()
        for name in tuple(self._watcher.files):
            self._file_intake.look(name)
            await slice_.pause()
