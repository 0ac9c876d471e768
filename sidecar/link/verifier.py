"""Who says whether a link is believed. `sidecar.identity.verification` does, in tests something simpler."""

from typing import Protocol

from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.writer import Writer
from sidecar.identity.peer import Peer
from sidecar.identity.verification import Identity, Shown


class Verifier(Protocol):
    """Verifies links. Each is named as in `LinkSession.name`."""

    def meet(self, link: str, peer: Peer) -> None:
        """A process has connected."""

    def verify(self, link: str, peer: Peer, challenge: str, shown: Shown) -> Identity:
        """Who it is that says hello.

        Raises:
            PinAwaitedError: It can't be told now, and may try again.
        """

    def verify_again(self, link: str, peer: Peer) -> Identity | None:
        """Who it is now, for a link that was not believed; None where it is to link anew."""

    def admits(self, peer: Peer) -> bool:
        """A rule of the policy admits it still."""

    def knows_token(self, text: bytes, proof: str) -> bool:
        """A program outside of OpenClaw has proved the hooks token: ``proof`` is the HMAC-SHA256 of ``text`` by it."""

    def cotenant(self, link: str, program: Writer) -> Reason | None:
        """Why a program outside of OpenClaw may not announce its writes; None when it may."""

    def left(self, link: str) -> None:
        """A link is gone."""

    def close(self) -> None:
        """The sidecar ends; links that go from here on go with it."""
