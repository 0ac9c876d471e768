"""fanotify events to core events: opt-in, and used only after a canary proved that the kernel reports."""

from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from sidecar.core import events as ev
from sidecar.core.custody.kernel_log import LATE_NS
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.process import Act, Process
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.faults import NO_FAULTS, Faults
from sidecar.status import Problem, WitnessStatus
from sidecar.watch.kernel import KernelEvidenceError, KernelWatch

log = structlog.get_logger("sidecar.watch")


class KernelIntake:
    """The `KernelHandler` of the service."""

    def __init__(
        self,
        tell: Callable[[ev.Event], None],
        now_ns: Callable[[], int],
        lost: Callable[[Loss, Reason], None],
        faults: Faults = NO_FAULTS,
        named: Callable[[Process], Process] = lambda process: process,
    ) -> None:
        """Nothing is listened to.

        Args:
            tell: Takes what is seen.
            now_ns: The clock.
            lost: Is called when sightings may be missing.
            faults: Loses some on purpose.
            named: Adds what is known of a process as a program that an agent started.
        """
        self._named = named
        self._tell = tell
        self._now_ns = now_ns
        self._lost = lost
        self._wanted = False
        self._reason = ""
        self._whole_since_ns = 0
        self._watch = KernelWatch(self, faults)
        self._resolved: dict[Path, Path] = {}

    def start(self, state_dir: Path, own: Iterable[Path]) -> None:
        """Listen, or say once why that can't be done and go on without: the grade of evidence is lower then.

        Args:
            state_dir: What is watched.
            own: The sidecar's own directories, for the canary.
        """
        self._wanted = True
        try:
            self._watch.start(state_dir, own)
        except KernelEvidenceError as error:
            self._reason = str(error)
            log.warning("no_kernel_evidence", reason=self._reason, detail="evidence is of grade bytes at best")
        else:
            log.info("kernel_evidence", pidfd=self._watch.pidfds)

    def stop(self) -> None:
        """Listen no more."""
        self._watch.stop()

    def listen(self, directory: Path) -> None:
        """A directory of session files, or of a database, is watched from now on."""
        problem = self._watch.listen(directory)
        if problem and problem != self._reason:
            self._reason = problem
            log.warning("no_kernel_evidence", directory=str(directory), reason=problem)

    def forget(self, directory: Path) -> None:
        """A sessions directory is gone, or has another name."""
        self._watch.forget(directory)
        self._resolved.pop(directory, None)

    def drain(self) -> None:
        """Hear all that the kernel has to say so far."""
        self._watch.drain()

    def process_seen(self, path: Path, process: Process, act: Act) -> None:
        """A process touched a session file or a database."""
        file = str(self._resolved.get(path.parent, path.parent) / path.name)
        self._tell(ev.KernelAccess(file=file, process=self._named(process), act=act, at_ns=self._now_ns()))

    def kernel_listening(self, directory: Path) -> None:
        """What is done in this directory is heard from now on."""
        self._resolved[directory] = directory.resolve()
        self._whole_since_ns = self._now_ns()
        self._tell(ev.KernelListening(directory=str(self._resolved[directory]), at_ns=self._whole_since_ns))

    def kernel_overflowed(self) -> None:
        """Sightings are lost."""
        self._whole_since_ns = self._now_ns()
        self._tell(ev.KernelOverflowed(at_ns=self._whole_since_ns))
        self._lost(Loss.KERNEL_OVERFLOW, Reason(ReasonCode.KERNEL_LOG_OVERFLOWED))

    def kernel_heard(self) -> None:
        """The kernel's queue is empty."""
        self._tell(ev.KernelDrained(at_ns=self._now_ns()))

    def status(self) -> WitnessStatus:
        """For ``status``."""
        watch = self._watch
        return WitnessStatus(
            wanted=self._wanted,
            on=watch.on,
            settled=watch.on and self._now_ns() - self._whole_since_ns >= LATE_NS,
            reason=self._reason,
            pidfd=watch.pidfds,
            directories=watch.directories,
            events=watch.events,
            unknown=watch.unknown,
            overflows=watch.overflows,
        )

    def problems(self) -> Iterable[Problem]:
        """What an operator should mend."""
        if self._wanted and self._reason:
            yield Problem(
                code="no_kernel_evidence",
                what=f"--who kernel was asked for, and the kernel's word is not to be had: {self._reason}",
                remedy="give the sidecar CAP_SYS_ADMIN in the initial user namespace, or run it without --who kernel; "
                "until then evidence is of grade bytes at best",
            )
