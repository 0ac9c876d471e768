"""Who is believed where the process itself can't be seen: one that was pinned, or that a rule admits."""

import hmac
from pathlib import Path
from typing import Final

import pytest

from sidecar.core.facts.gateway import Proof
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import Permission, Rule
from sidecar.identity.errors import PinAwaitedError
from sidecar.identity.peer import Peer
from sidecar.identity.pin import AWAITED_SECONDS, PIN_FILE, Pin
from sidecar.identity.verification import Identity, Shown, Verification
from tests.identity.test_pin import Clock

UNSEEN: Final = Peer(pid=0, uid=1000)
CHALLENGE: Final = "c" * 32
PINNED: Final = Reason(ReasonCode.LINK_PINNED)


class Life:
    """A sidecar's verification, from its start to its end."""

    def __init__(self, place: Path, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.clock = Clock()
        self.verification = Verification(place, lambda: self.policy, str, pin=Pin(place / PIN_FILE, self.clock))

    def link(self, name: str, key: tuple[str, str] = ("", ""), peer: Peer = UNSEEN) -> Identity:
        """A link that shows this key."""
        self.verification.meet(name, peer)
        proof = hmac.digest(bytes.fromhex(key[1]), f"gateway\n{CHALLENGE}".encode(), "sha256").hex() if key[1] else ""
        return self.verification.verify(name, peer, CHALLENGE, Shown(key=key[0], proof=proof))

    def end(self, *links: str) -> None:
        """An orderly end, with these links open."""
        self.verification.close()
        for link in links:
            self.verification.left(link)


def test_the_first_that_can_not_be_seen_is_believed_and_no_other_while_it_is_linked(tmp_path: Path) -> None:
    life = Life(tmp_path)
    first = life.link("gateway")
    assert (first.proof, first.unverified) == (Proof.PIN, None)
    assert life.link("tool").unverified == PINNED
    assert life.link("thread", first.key).proof is Proof.KEY
    life.verification.left("gateway")
    assert life.link("tool again").unverified == PINNED
    life.verification.left("thread")
    assert life.verification.verify_again("tool", UNSEEN) is None
    assert life.link("a new container's gateway").proof is Proof.PIN


def test_a_stolen_key_id_without_its_secret_proves_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path)
    first = life.link("gateway")
    life.verification.meet("tool", UNSEEN)
    found = life.verification.verify("tool", UNSEEN, CHALLENGE, Shown(key=first.key[0], proof="0" * 64))
    assert found.unverified == Reason(ReasonCode.LINK_KEY_WRONG)


@pytest.mark.parametrize("proof", ["", "0" * 64])
def test_the_sidecar_proves_a_key_only_to_whom_it_gave_it(tmp_path: Path, proof: str) -> None:
    """Whoever took the sidecar's path hears key and nonce of a gateway; a proof for them would make it obeyed."""
    life = Life(tmp_path)
    first = life.link("gateway")
    overheard = Shown(key=first.key[0], proof=proof, nonce="d" * 32)
    for place in ("beside it", "in its place"):
        life.verification.meet(place, UNSEEN)
        assert life.verification.verify(place, UNSEEN, CHALLENGE, overheard).answer == ""
        life.verification.left("gateway")


def test_after_a_restart_the_pinned_process_is_waited_for_and_known_again(tmp_path: Path) -> None:
    life = Life(tmp_path)
    key = life.link("gateway").key
    life.end("gateway")
    later = Life(tmp_path)
    with pytest.raises(PinAwaitedError):
        later.link("tool")
    assert later.link("gateway", key).proof is Proof.KEY
    assert later.link("tool").unverified == PINNED


def test_one_that_came_while_the_pinned_process_was_away_too_long_is_thrown_out_by_it(tmp_path: Path) -> None:
    life = Life(tmp_path)
    key = life.link("gateway").key
    life.end("gateway")
    later = Life(tmp_path)
    later.clock.now += AWAITED_SECONDS
    tool = later.link("tool")
    assert tool.proof is Proof.PIN
    back = later.link("gateway", key)
    assert (back.proof, back.thrown_out) == (Proof.KEY, frozenset({"tool"}))
    assert later.link("tool", tool.key).unverified == PINNED


def test_a_key_of_a_process_that_was_seen_is_none_for_one_that_can_not_be_seen(tmp_path: Path) -> None:
    life = Life(tmp_path)
    key = life.verification._keys.give((4711, 99), pinned=False)
    life.link("gateway")
    assert life.link("tool", key).unverified == PINNED


def test_a_rule_on_the_user_admits_what_can_not_be_seen(tmp_path: Path) -> None:
    rule = Rule(name="pods", uids=frozenset({1000}), may=Permission.REWRITE, unverified=True)
    life = Life(tmp_path, Policy(rules=(rule,)))
    life.link("gateway")
    second = life.link("second")
    assert (second.proof, second.checks) == (Proof.POLICY, ("rule pods",))
    assert life.verification.admits(UNSEEN)
    life.policy = Policy()
    assert not life.verification.admits(UNSEEN)


def test_another_sidecars_secret_makes_no_difference_to_whoever_can_be_pinned(tmp_path: Path) -> None:
    """The data directory was lost: keys of before are none, and the gateway gets a new one."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    key = Life(tmp_path / "old").link("gateway").key
    found = Life(tmp_path / "new").link("gateway", key)
    assert found.proof is Proof.PIN
    assert found.key[0]
