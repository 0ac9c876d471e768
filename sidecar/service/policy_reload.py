"""Keeps the policy and the pause that operators give, and tells the core when they change."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from sidecar.config.pause import PAUSE_NAME, PauseFileError, read_pause
from sidecar.config.policy import PolicyError, read_policy
from sidecar.core import events as ev
from sidecar.core.policy.blocked import Pause
from sidecar.core.policy.policy import Policy
from sidecar.job import Job
from sidecar.status import PauseStatus, PolicyStatus, Problem
from sidecar.telemetry.facade import Telemetry
from sidecar.watch.named import NamedFiles

LOOK_SECONDS: Final = 60
"""How often the files are read without a file event: a link may lead where inotify does not see."""

_FOREVER_NS: Final = (1 << 63) - 1
_MAX_LINES: Final = 20
"""Findings of one file that are logged."""

log = structlog.get_logger("sidecar.policy")


def first_policy(policy_file: Path | None) -> Policy:
    """The policy to start with: the built-in one where there is no file.

    Raises:
        PolicyError: The file cannot be used, and there is no policy in force that could stay.
    """
    return Policy() if policy_file is None else read_policy(policy_file)


class PolicyReload:
    """The policy in force and the pause in force."""

    def __init__(  # noqa: PLR0917 - made of its ports
        self,
        policy: Policy,
        policy_file: Path | None,
        data_dir: Path,
        tell: Callable[[ev.Event], object],
        changed: Callable[[], None],
        telemetry: Telemetry,
        now_ns: Callable[[], int],
    ) -> None:
        """Nothing is watched yet; ``policy`` is what the file (None: the built-in policy) said at the start.

        ``changed`` is called when the core has taken in another one.
        """
        self.policy = policy
        self.pause: Pause | None = None
        self._file = policy_file
        self._data_dir = data_dir
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._loaded_at_ns = now_ns()
        self._error: PolicyError | None = None
        self._pause_error = ""
        self._tell = tell
        self._changed = changed
        self.jobs = (Job("policy and pause", LOOK_SECONDS, self.look),)
        files = [data_dir / PAUSE_NAME, *([policy_file] if policy_file is not None else [])]
        self._watch = NamedFiles(files, self.look)
        if policy_file is not None:
            telemetry.policy_read(taken=True)
            self._say_taken()

    def start(self) -> None:
        """Watch both files, and tell at once of the pause that there is already."""
        self._watch.start()
        self._look_at_pause()

    def stop(self) -> None:
        """Watch no more."""
        self._watch.stop()

    def look(self) -> None:
        """See whether the files have changed."""
        self._look_at_policy()
        self._look_at_pause()

    def status(self) -> PolicyStatus:
        """The policy in force."""
        return PolicyStatus(
            file=str(self._file) if self._file is not None else "",
            digest=self.policy.digest,
            rules=len(self.policy.rules),
            loaded_at_ns=self._loaded_at_ns,
            good=self._error is None,
            error=self._error.findings[0].text(self._error.path) if self._error is not None else "",
        )

    def pause_status(self) -> PauseStatus | None:
        """The pause in force."""
        if self.pause is None or not self.pause.active(self._now_ns()):
            return None
        return PauseStatus(reason=self.pause.reason, since_ns=self.pause.since_ns, until_ns=self.pause.until_ns)

    def problems(self, *, kernel: bool) -> Iterable[Problem]:
        """What an operator should mend; ``kernel`` says whether the kernel's word is to be had."""
        parts = ", ".join(self.policy.needs_kernel)
        if parts and not kernel:
            yield Problem(
                code="policy_needs_kernel",
                what=f"{parts} of the policy rests on the kernel's word, which the sidecar does not have:"
                " nothing is recovered on it",
                remedy="run the sidecar with --who kernel (CAP_SYS_ADMIN), or take them out of the policy",
            )
        if self._error is not None:
            yield Problem(
                code="policy_refused",
                what=f"{self._error}; the policy {self.policy.digest} stays in force",
                remedy=f"mend the file; `openclaw-sidecar policy check {self._file}` tells when it is right",
            )
        if self._pause_error:
            yield Problem(
                code="pause_unreadable",
                what=f"{self._pause_error}; recovery is paused until it can be read",
                remedy="give the pause anew with `openclaw-sidecar pause`, or end it with `openclaw-sidecar resume`",
            )

    def _look_at_policy(self) -> None:
        if self._file is None:
            return
        try:
            policy = read_policy(self._file)
        except PolicyError as error:
            if self._error is None or str(error) != str(self._error):
                self._refused(error)
            return
        if policy.digest == self.policy.digest and self._error is None:
            return
        self._error = None
        self._telemetry.policy_read(taken=True)
        if policy.digest == self.policy.digest:
            log.info("policy_mended", file=str(self._file), digest=policy.digest)
            return
        self.policy = policy
        self._loaded_at_ns = self._now_ns()
        self._say_taken()
        self._tell(ev.PolicyChanged(policy=policy, at_ns=self._loaded_at_ns))
        self._changed()

    def _refused(self, error: PolicyError) -> None:
        self._error = error
        self._telemetry.policy_read(taken=False)
        for finding in error.findings[:_MAX_LINES]:
            log.error("policy_refused", detail=finding.text(error.path), in_force=self.policy.digest)

    def _say_taken(self) -> None:
        log.info("policy_loaded", file=str(self._file), digest=self.policy.digest, rules=len(self.policy.rules))
        for caution in self.policy.cautions:
            log.warning("policy_caution", detail=caution)

    def _look_at_pause(self) -> None:
        """A pause that can't be read is a pause: an operator wanted one, and only its end is not known."""
        try:
            pause, problem = read_pause(self._data_dir), ""
        except PauseFileError as error:
            pause, problem = Pause("the pause file can't be read", self._now_ns(), _FOREVER_NS), str(error)
            if self._pause_error:
                return
            log.error("pause_unreadable", error=problem)  # noqa: TRY400 - the text says it all
        self._pause_error = problem
        if pause == self.pause:
            return
        self.pause = pause
        if pause is None:
            log.info("resumed")
        else:
            log.info("paused", reason=pause.reason, until_ns=pause.until_ns)
        self._tell(ev.PauseChanged(pause=pause, at_ns=self._now_ns()))
