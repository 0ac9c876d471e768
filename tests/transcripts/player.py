"""Plays the commands of a transcript on model disks through the real core. The only module here that makes events.

A session begins with 100 bytes in five records of 20; every record that is written has 20 bytes unless a size is given.
A fingerprint is written as the size of the file, with a prime for each earlier one of that size: ``100``, ``100'``.
A writer is ``KIND[:NAME][/RUN][@LINK]``; ``own`` is the run that set the last fence.

    link NAME pid=N [adapter=swap|publish] [role=cotenant] [uid=N]     a process links; goodbye NAME, lost NAME: it ends
    mode observe; policy + lines of TOML; pause 30m WHY; resume        what the operator sets
    session NAME; window W                                             what the next lines are about
    fence [RUN KIND] [name=N] [window=W] [at=F]                        a run records the file as its fence
    append|write-at|rewrite|truncate|touch|remove WRITER ...           a linked process acts and reports it
    locked COMMAND WRITER ...; lock WRITER; unlock WRITER              the same under the session lock
    begin append WRITER ID; write; end                                 a call that takes its time
    unreported append|overwrite|truncate|restore|touch|copy|chown|remove ...   somebody acts, and nobody reports it
    look [over=W]                                                      the watch notices, and the file is read
    ask, trip [fence=F] [unheard]; applied [IDS]; declined WHY; close [lost]   what a gateway says of a window
    timeout PID; acquired; gave-up                                     the session lock is not acquired in time
    history [missing=IDS] [problem=WHY]                                the history after a recovery was read
    loss CLASS WHY [here]; kernel ...; lockfile ...; logged ...; wait 10m; tick; restart
    late MS; halted 5s                                                 the answer came late; the sidecar did not run
    expect VERDICT OUTCOME [paged] [lost]                              by hand, one for each incident; never rewritten
    story                                                              what each incident says in the end
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.config.policy import parse_policy
from sidecar.core import events as ev
from sidecar.core.custody.kept import AnyKeptChain
from sidecar.core.decisions import Approve, CheckLineage, Decision, KeepChains, KeepRecording, ReadFile, Refuse
from sidecar.core.engine import Engine
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.gateway import Adapter, Gateway, Role, Run
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.process import Act, Process
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.blocked import Pause
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.replay.recorder import Recorder
from sidecar.core.verdict.incident import Incident
from sidecar.store.reader import session_hash
from sidecar.store.since import duration_ns
from tests.core.kit import Bench, Disk
from tests.transcripts.script import Command
from tests.transcripts.told import Labels, line_of, outcome_of

DIRECTORY: Final = "/state/agents/main/sessions"
RECORD: Final = 20


class UnknownCommandError(Exception):
    """A line of a transcript can't be played."""


class Session(Bench):
    """A session file, and the run that fenced it last."""

    def __init__(self, story: Story, name: str) -> None:
        self.story = story
        self.name = name
        self.run = Run(session=session_hash(f"agent:main:{name}"))
        self.window = ""
        self.link = ""
        self.under_way: list[tuple[Change, bytes]] = []
        start = b"".join(record(f"m{n}") for n in range(1, 6))
        self.versions: dict[int, bytes] = {len(start): start}
        super().__init__(linked=False, disk=Disk(start), file=f"{DIRECTORY}/{name}.jsonl")
        self.engine = story.engine

    def now(self) -> int:
        self.story.ns += 1_000_000
        return self.story.ns

    def seq(self) -> int:
        self.story.seq += 1
        self._seq = self.story.seq
        return self._seq

    def tell(self, event: ev.Event) -> list[Decision]:
        return self.story.tell(event, self)

    def recall(self) -> list[Decision]:
        chain = self.story.chains.get(self.file)
        if chain is None:
            return []
        return self.tell(ev.ChainRecalled(chain=chain, reason=Reason(ReasonCode.UNWATCHED), at_ns=self.now()))


class Story:
    """One transcript under way."""

    def __init__(self) -> None:
        self.ns = 1_700_000_000_000_000_000
        self.seq = 0
        self.output: list[str] = []
        self.kept: dict[str, KeepRecording] = {}
        self.saved: dict[str, Incident] = {}
        self.chains: dict[str, AnyKeptChain] = {}
        self.expected: list[tuple[str, ...]] = []
        self.links: dict[str, Gateway] = {}
        self.labels = Labels()
        self.engine = Engine(Policy(), Mode.RECOVER)
        self._recorder = Recorder(self.engine)
        self.sessions: dict[str, Session] = {}
        self._do_session("s")

    def play(self, command: Command) -> None:
        """Carry out one command; what the core decides is added to ``output``."""
        do: Callable[..., None] | None = getattr(self, f"_do_{command.words[0].replace('-', '_')}", None)
        body = [command.body] if command.body else []
        try:
            if do is None:
                raise UnknownCommandError(f"{command.place}: there is no command {command.words[0]!r}")
            do(*command.words[1:], *body, **command.options)
        except (TypeError, KeyError, ValueError, IndexError) as error:
            raise UnknownCommandError(f"{command.place}: {error!r}") from error

    def tell(self, event: ev.Event, session: Session) -> list[Decision]:
        """Give an event to the core by way of the recorder; the decisions that ``session`` must carry out."""
        self.labels.learn(session.disk.fingerprint)
        left: list[Decision] = []
        for decision in self._recorder.handle(event):
            self.output += line_of(decision, self.labels)
            if isinstance(decision, KeepChains):
                self.chains |= {chain.file: chain for chain in decision.chains}
            if isinstance(decision, KeepRecording):
                self.kept[decision.incident.window] = decision
                continue
            if incident := getattr(decision, "incident", None):
                self.saved[incident.incident_id] = incident
            if isinstance(decision, ReadFile) and decision.file != session.file:
                self.sessions[Path(decision.file).stem].reads.append(decision)
            else:
                left.append(decision)
        for outcome in self.engine.outcomes:
            self.output += outcome_of(outcome, self.labels)
        return left

    def _writer(self, text: str) -> tuple[Writer, str]:
        """A writer and its link."""
        rest, _, link = text.partition("@")
        link = link or self.at.link
        pid = self.links[link].pid
        if rest == "own":
            return Writer(WriterKind.of(self.at.run.kind), self.at.run.name, pid, self.at.run.run_id), link
        who, _, run = rest.partition("/")
        kind, _, name = who.partition(":")
        exe, outside = self.links[link].role.value if name == "exe" else "", kind == WriterKind.DECLARED
        return Writer(WriterKind(kind), name, pid, run, exe=exe, token=outside), link

    # What is there, and what the operator sets.

    def _do_session(self, name: str) -> None:
        """Turn to this session."""
        known = self.sessions.get(name)
        self.at = self.sessions[name] = known or Session(self, name)
        self.labels.sessions = len(self.sessions)
        if known is None and self.links:
            self.at.link = next(iter(self.links))

    def _do_link(self, name: str, pid: str, adapter: str = "publish", role: str = "gateway", uid: str = "-1") -> None:
        found = Adapter(adapter)
        can_reload = found is Adapter.PUBLISH
        self.links[name] = Gateway(name, int(pid), "2026.7.35", found, can_reload, Role(role), uid=int(uid))
        self.at.link = self.at.link or name
        self.at.handle(ev.LinkOpened(gateway=self.links[name], at_ns=self.at.now()))

    def _do_goodbye(self, name: str) -> None:
        self.at.handle(ev.LinkLost(link=name, clean=True, at_ns=self.at.now()))

    def _do_lost(self, name: str) -> None:
        self.at.handle(ev.LinkLost(link=name, clean=False, at_ns=self.at.now()))

    def _do_mode(self, mode: str) -> None:
        self.engine.gate.mode = Mode(mode)

    def _do_policy(self, toml: str) -> None:
        policy = parse_policy(Path("policy.toml"), toml.encode())
        self.at.handle(ev.PolicyChanged(policy=policy, at_ns=self.at.now()))

    def _do_pause(self, length: str, why: str) -> None:
        now = self.at.now()
        self.at.handle(ev.PauseChanged(pause=Pause(why, now, now + duration_ns(length)), at_ns=now))

    def _do_resume(self) -> None:
        self.at.handle(ev.PauseChanged(pause=None, at_ns=self.at.now()))

    def _do_wait(self, length: str) -> None:
        self.ns += duration_ns(length)

    def _do_tick(self) -> None:
        self.at.handle(ev.TimePassed(at_ns=self.at.now()))

    def _do_restart(self) -> None:
        """Another sidecar that knows nothing, and to which nobody has linked."""
        self.engine = Engine(self.engine.policy, self.engine.mode)
        self._recorder = Recorder(self.engine)
        for session in self.sessions.values():
            session.engine = self.engine
            session.reads.clear()
        self.links.clear()

    # What reaches the disk.

    def _do_append(self, writer: str, name: str, size: str = "20") -> None:
        who, link = self._writer(writer)
        before = self.at.disk.fingerprint
        self._put(record(name, int(size)))
        self.at.done(Operation.APPEND, who, record(name, int(size)), before=before, link=link)

    def _do_rewrite(self, writer: str, keep: str, name: str) -> None:
        """The first ``keep`` bytes, and one record behind them."""
        self.at.rewrite(self._writer(writer)[0], self.at.disk.data[: int(keep)] + record(name))

    def _do_truncate(self, writer: str, size: str) -> None:
        self.at.truncate(self._writer(writer)[0], int(size))

    def _do_touch(self, writer: str) -> None:
        before = self.at.disk.fingerprint
        self.at.disk.touch()
        self.at.done(Operation.METADATA, self._writer(writer)[0], b"", before=before)

    def _do_remove(self, writer: str) -> None:
        self.at.remove(self._writer(writer)[0])

    def _do_begin(self, what: str, writer: str, name: str) -> None:
        """The call is reported, and nothing of it has reached the file."""
        who, link = self._writer(writer)
        self.at.under_way.append((self.at.begin(Operation(what), who, record(name), link=link), record(name)))

    def _do_write(self) -> None:
        """The bytes of the call under way are in the file."""
        self._put(self.at.under_way[0][1])

    def _do_end(self) -> None:
        """The call returns, and that is reported."""
        self.at.end(self.at.under_way.pop(0)[0])

    def _do_lock(self, writer: str) -> None:
        self.at.take_lock(*self._writer(writer))

    def _do_unlock(self, writer: str) -> None:
        self.at.release_lock(*self._writer(writer))

    def _do_locked(self, what: str, writer: str, *rest: str) -> None:
        self._do_lock(writer)
        getattr(self, f"_do_{what}")(writer, *rest)
        self._do_unlock(writer)

    def _do_unreported(self, what: str, *words: str) -> None:
        disk = self.at.disk
        match what, words:
            case "append", (name,):
                self._put(record(name), foreign=1)
            case "overwrite", (offset, name):
                disk.overwrite(int(offset), record(name), foreign=1)
            case "truncate", (size,):
                disk.truncate(int(size))
            case "restore", (size,):
                disk.replace(self.at.versions[int(size)])
            case "touch", ():
                disk.touch()
            case "copy", ():
                disk.rename_copy()
            case "chown", (uid,):
                disk.uid = int(uid)
                disk.touch()
            case "symlink", ():
                disk.regular = False
                disk.rename_copy()
            case "remove", ():
                disk.remove()
            case _:
                raise ValueError(what, *words)

    def _put(self, data: bytes, *, foreign: int = 0) -> None:
        self.at.disk.append(data, foreign=foreign)
        self.at.versions[len(self.at.disk.data)] = self.at.disk.data

    # What is seen of it.

    def _do_look(self, over: str = "") -> None:
        if over:
            snapshot = self.at.disk.snapshot
            self.at.handle(ev.SnapshotTaken(file=self.at.file, snapshot=snapshot, at_ns=self.at.now(), over=(over,)))
        else:
            self.at.look()

    def _do_loss(self, loss: str, code: str, only: str = "", **parameters: str) -> None:
        values = {name: int(value) if value.isdecimal() else value for name, value in parameters.items()}
        self.at.lose(Reason.of(ReasonCode(code), **values), Loss(loss), self.at.file if only == "here" else "")

    def _do_lockfile(self, *words: str) -> None:
        at_ns = self.at.now()
        if words == ("gone",):
            self.at.handle(ev.LockFileGone(file=self.at.file, at_ns=at_ns))
        else:
            pid, exe = words
            self.at.handle(ev.LockFileSeen(file=self.at.file, pid=int(pid), exe=exe, at_ns=at_ns))

    def _do_kernel(self, what: str, *words: str, uid: str = "-1") -> None:
        at_ns = self.at.now()
        match what, words:
            case "listens", ():
                self.at.handle(ev.KernelListening(directory=DIRECTORY, at_ns=at_ns))
            case "saw", (pid, exe, act):
                process = Process(int(pid), 1_000, exe, uid=int(uid))
                self.at.handle(ev.KernelAccess(file=self.at.file, process=process, act=Act(act), at_ns=at_ns))
            case "drained", ():
                self.at.handle(ev.KernelDrained(at_ns=at_ns))
            case "overflowed", ():
                self.at.handle(ev.KernelOverflowed(at_ns=at_ns))
            case _:
                raise ValueError(what, *words)

    def _do_logged(self, what: str, waited: str = "0s") -> None:
        """The gateway's log tells that a user was affected."""
        run = self.at.run
        self.at.handle(
            ev.GatewayLogged(
                file=self.at.file,
                run_id=run.run_id,
                session=run.session,
                what=what,
                waited_ns=duration_ns(waited),
                at_ns=self.at.now(),
            )
        )

    # What a gateway says of a window.

    def _do_window(self, window: str) -> None:
        """Turn to this window of the session."""
        self.at.window = window
        self.at.run = next(w.run for w in self.engine.windows if w.window_id == window)

    def _do_fence(self, run: str = "", kind: str = "", name: str = "", window: str = "", at: str = "") -> None:
        session = self.at
        if kind:
            session.run = Run(run, kind, name, session.run.session)
        session.window = window or run or session.window
        self.labels.windows.add(session.window)
        if at:
            event = ev.FenceSet(
                link=session.link,
                window=session.window,
                file=session.file,
                fence=self.labels.fingerprint(at),
                run=session.run,
                at_ns=session.now(),
            )
            session.handle(event)
        else:
            session.fence(session.window, session.run, session.link)

    def _do_ask(self, *words: str, run: str = "", kind: str = "", fence: str = "", ahead: str = "0s") -> None:
        if run:
            self.at.run = Run(run, kind, "", self.at.run.session)
            self.at.window = run
            self.labels.windows.add(run)
        self.at.ask(
            self.at.window,
            fence=self.labels.fingerprint(fence) if fence else None,
            run=self.at.run,
            ahead_ns=duration_ns(ahead),
            link=self.at.link,
            unheard="unheard" in words,
        )

    def _do_trip(self, *words: str, fence: str = "") -> None:
        self.at.trip(
            self.at.window,
            fence=self.labels.fingerprint(fence) if fence else None,
            run=self.at.run,
            link=self.at.link,
            unheard="unheard" in words,
        )

    def _do_timeout(self, pid: str, *words: str, fence: str = "") -> None:
        self.at.time_out(
            int(pid),
            window=self.at.window,
            fence=self.labels.fingerprint(fence) if fence else None,
            run=self.at.run,
            link=self.at.link,
            unheard="unheard" in words,
        )

    def _do_acquired(self) -> None:
        self.at.wait_ended(self.at.window, had=True)

    def _do_gave_up(self) -> None:
        self.at.wait_ended(self.at.window, had=False)

    def _do_applied(self, *records: str) -> None:
        """The preload obeyed the last approval of this window."""
        self.at.apply(self._approval, *records, moves=False)

    def _do_declined(self, why: str) -> None:
        self.at.decline(self._approval, why)

    @property
    def _approval(self) -> Approve:
        return [a for a in self.at.approvals if a.window == self.at.window][-1]

    def _do_late(self, waited_ms: str) -> None:
        """The gateway gave up waiting for the last answer after so long, or the answer came after that."""
        ask = [d.ask for d in self.at.decisions if isinstance(d, Approve | Refuse)][-1]
        waited_ns, at_ns = int(waited_ms) * 1_000_000, self.at.now()
        self.at.handle(ev.AnswerLate(ask=ask, window=self.at.window, waited_ns=waited_ns, at_ns=at_ns, heard_ns=at_ns))

    def _do_halted(self, length: str) -> None:
        """The sidecar did not run for so long."""
        since_ns = self.ns
        self.ns += duration_ns(length)
        self.at.handle(ev.SidecarHalted(since_ns=since_ns, at_ns=self.at.now()))

    def _do_close(self, *words: str, window: str = "") -> None:
        self.at.close(window or self.at.window, takeover="lost" in words)

    def _do_history(self, missing: str = "", problem: str = "") -> None:
        check = self.at.made(CheckLineage)[-1]
        gone = tuple(missing.split(",")) if missing else ()
        at_ns = self.at.now()
        self.at.handle(ev.LineageChecked(window=check.window, missing=gone, at_ns=at_ns, problem=problem))

    def _do_expect(self, *words: str) -> None:
        self.expected.append(words)


def record(name: str, size: int = RECORD) -> bytes:
    """A record with this id, padded to a size that makes easy numbers."""
    return f'{{"id":"{name}"}}'.ljust(size - 1).encode() + b"\n"
