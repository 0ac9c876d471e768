"""Verifies links, one after the other, by the steps of this room."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from sidecar.core.facts.gateway import Proof
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.writer import Writer
from sidecar.core.policy.policy import Policy
from sidecar.identity import steps
from sidecar.identity.errors import PinAwaitedError
from sidecar.identity.keys import KEY_FILE, Keys
from sidecar.identity.peer import Peer
from sidecar.identity.pin import PIN_FILE, Pin
from sidecar.identity.reader import Reader
from sidecar.identity.seen import Seen

_UNSEEN: Final = (0, 0)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a process shows in its hello.

    Attributes:
        script: The path of its main script, as it says.
        key: The id of the key that it says it holds; empty for none.
        proof: Its answer to our challenge; empty for none.
        nonce: Its own challenge to us.
    """

    script: str = ""
    key: str = ""
    proof: str = ""
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What was found out about a link.

    Attributes:
        proof: What it is believed for; None when it is not.
        unverified: Why it is not believed; None when it is.
        checks: What was found, in short words, in the order of the steps.
        key: A key for it to keep: its id, and its secret; empty when it gets none.
        answer: Our proof to it that we are its sidecar; empty when it holds no key.
        thrown_out: The links that are to be closed, as this one was pinned before them.
    """

    proof: Proof | None = None
    unverified: Reason | None = None
    checks: tuple[str, ...] = ()
    key: tuple[str, str] = field(default=("", ""), repr=False)
    answer: str = ""
    thrown_out: frozenset[str] = frozenset()


UNKNOWN: Final = Identity()
"""Of a link that has not said hello yet, and of a program outside of OpenClaw."""


class Verification:
    """Who is believed."""

    def __init__(
        self,
        data_dir: Path,
        policy: Callable[[], Policy],
        token: Callable[[], str],
        reader: Reader | None = None,
        pin: Pin | None = None,
    ) -> None:
        """Keys and pin are kept in ``data_dir``; ``policy`` is the one in force.

        ``token`` is the hooks token, empty when there is none.

        Raises:
            KeyFileError: The sidecar's own secret can't be used, or not be kept.
        """
        self._policy = policy
        self._token = token
        self._reader = reader or Reader()
        self._keys = Keys.of_file(data_dir / KEY_FILE)
        self._pin = pin or Pin(data_dir / PIN_FILE)
        self._seen: dict[str, Seen] = {}
        self._scripts: dict[str, str] = {}
        self._gateways: dict[str, Seen] = {}

    def meet(self, link: str, peer: Peer) -> None:
        """A process has connected: look at it at once, as it may end soon, or hide its command line."""
        self._seen[link] = self._reader.look(peer)

    def verify(self, link: str, peer: Peer, challenge: str, shown: Shown) -> Identity:
        """Who it is that says hello.

        Raises:
            PinAwaitedError: It can't be told now, and may try again.
        """
        self._scripts[link] = shown.script
        seen = self._reader.told(self._seen[link], shown.script)
        return self._believed(link, seen, self._decide(link, seen, peer, challenge, shown))

    def verify_again(self, link: str, peer: Peer) -> Identity | None:
        """Who it is now, for a link that was not believed: a gateway takes its lock after it has linked.

        Returns:
            None where it is to link anew: the pin that it was in want of is free.
        """
        if peer.pid and peer.exe:
            seen = self._reader.told(self._reader.look(peer), self._scripts.get(link, ""))
            return self._believed(link, seen, self._by_process(seen, peer))
        try:
            return None if self._pin.free else self._by_policy(peer, Reason(ReasonCode.LINK_PINNED))
        except PinAwaitedError:
            return self._by_policy(peer, Reason(ReasonCode.LINK_PINNED))

    def admits(self, peer: Peer) -> bool:
        """A rule of the policy admits it still."""
        return bool(self._policy().admits(peer.exe, peer.uid))

    def knows_token(self, text: bytes, proof: str) -> bool:
        """A program outside of OpenClaw has proved the hooks token: ``proof`` is the HMAC-SHA256 of ``text`` by it."""
        token = self._token() if proof else ""
        return bool(token) and hmac.compare_digest(proof, hmac.new(token.encode(), text, sha256).hexdigest())

    def cotenant(self, link: str, program: Writer) -> Reason | None:
        """Why a program outside of OpenClaw may not announce its writes; None when it may.

        A tool of a gateway's agent may never, whatever the policy says: the agent has its user and reads what it reads.
        """
        refused = self._policy().refusal(program)
        if refused is not None:
            return refused
        seen = self._seen[link]
        if not seen.visible:
            return None if program.token else Reason(ReasonCode.COTENANT_UNSEEN)
        return steps.one_process(seen) or steps.is_outside(seen, self._gateways.values())

    def left(self, link: str) -> None:
        """A link is gone."""
        self._seen.pop(link, None)
        self._scripts.pop(link, None)
        self._gateways.pop(link, None)
        self._pin.leave(link)

    def close(self) -> None:
        """The sidecar ends."""
        self._pin.close()

    def _believed(self, link: str, seen: Seen, identity: Identity) -> Identity:
        """Remember a gateway, whose children are looked at more closely."""
        if identity.proof in {Proof.PROCESS, Proof.KEY} and seen.pid:
            self._gateways[link] = seen
        return identity

    def _decide(self, link: str, seen: Seen, peer: Peer, challenge: str, shown: Shown) -> Identity:
        process = seen.process if seen.pid else _UNSEEN
        pinned = bool(shown.key) and self._keys.is_of(shown.key, process, pinned=True)
        its_own = pinned or (bool(shown.key) and self._keys.is_of(shown.key, process, pinned=False))
        if its_own and shown.proof:
            return self._by_key(link, peer, shown, challenge, pinned=pinned)
        if seen.visible:
            identity = self._by_process(seen, peer)
            key = self._keys.give(process, pinned=False) if identity.proof is Proof.PROCESS else ("", "")
            # Whose key it is says the kernel here. Nobody else gets a proof, which it could pass on as its own.
            answer = self._answer(shown) if its_own else ""
            return Identity(identity.proof, identity.unverified, identity.checks, key, answer)
        if self._pin.free:
            key = self._keys.give(process, pinned=True)
            self._pin.take(link, key[0])
            return Identity(Proof.PIN, checks=("the only one that can't be seen",), key=key)
        return self._by_policy(peer, Reason(ReasonCode.LINK_PINNED))

    def _answer(self, shown: Shown) -> str:
        return self._keys.prove(shown.key, shown.nonce) if shown.nonce else ""

    def _by_key(self, link: str, peer: Peer, shown: Shown, challenge: str, *, pinned: bool) -> Identity:
        if not self._keys.proves(shown.key, shown.proof, challenge):
            return self._by_policy(peer, Reason(ReasonCode.LINK_KEY_WRONG))
        answer = self._answer(shown)
        if not pinned:
            return Identity(Proof.KEY, checks=(f"key {shown.key}",), answer=answer)
        thrown_out = self._pin.join(link, shown.key)
        if thrown_out is None:
            return self._by_policy(peer, Reason(ReasonCode.LINK_PINNED))
        return Identity(Proof.KEY, checks=(f"pinned key {shown.key}",), answer=answer, thrown_out=thrown_out)

    def _by_process(self, seen: Seen, peer: Peer) -> Identity:
        refused = steps.refusal(seen, self._gateways.values())
        if refused is None:
            return Identity(Proof.PROCESS, checks=steps.checks(seen))
        return self._by_policy(peer, refused)

    def _by_policy(self, peer: Peer, refused: Reason) -> Identity:
        rule = self._policy().admits(peer.exe, peer.uid)
        if rule:
            return Identity(Proof.POLICY, checks=(f"rule {rule}",))
        return Identity(unverified=refused)
