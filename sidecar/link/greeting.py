"""What is said to a hello."""

from typing import Final

from sidecar.core.facts.gateway import Adapter, Role
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.identity.peer import Peer
from sidecar.identity.verification import Identity, Shown
from sidecar.link.translate import MAX_REASON
from sidecar.wire import messages as wire
from sidecar.wire.codec import negotiated
from sidecar.words import sentence

_RESTART: Final = "restart the gateway so that it loads the preload of this version"


def refused(hello: wire.Hello, peer: Peer) -> tuple[str, str] | None:
    """Why the hello is not accepted: a short stable word, and a line for people; None when it is."""
    if negotiated(hello) is None:
        remedy = "update openclaw-sidecar" if hello.protocol > wire.PROTOCOL else _RESTART
        text = f"process {peer.pid} speaks protocol {hello.protocol}, this sidecar {wire.PROTOCOL}: {remedy}"
        return "protocol_version", text
    if not peer.may_be(hello.pid):
        return "pid_mismatch", f"process {peer.pid} calls itself {hello.pid}"
    if hello.role is Role.COTENANT and not hello.name:
        return "malformed", f"process {peer.pid} is a co-tenant without a name"
    return None


def not_declared(why: Reason) -> tuple[str, str]:
    """Why a program outside of OpenClaw may announce nothing, as `refused` says it."""
    by_policy = why.code in {ReasonCode.NOT_DECLARED_BY_POLICY, ReasonCode.NOTHING_ALLOWED}
    return wire.NOT_DECLARED if by_policy else wire.NO_COTENANT, sentence(why)


def shown_by(hello: wire.Hello) -> Shown:
    """What the hello proves itself with."""
    return Shown(script=hello.script, key=hello.key, proof=hello.proof, nonce=hello.nonce)


def welcome(hello: wire.Hello, identity: Identity, version: str, mode: str) -> wire.Welcome:
    """The answer to a hello that is accepted."""
    key, secret = identity.key
    return wire.Welcome(
        protocol=negotiated(hello) or wire.PROTOCOL,
        sidecar=version,
        mode=mode,
        answers=wire.ANSWERS,
        verified=identity.unverified is None,
        reason=sentence(identity.unverified)[:MAX_REASON] if identity.unverified else "",
        key=key,
        secret=secret,
        proof=identity.answer,
    )


def adapter_of(word: str) -> Adapter:
    """The adapter that a preload names; a newer one may have others."""
    try:
        return Adapter(word)
    except ValueError:
        return Adapter.UNKNOWN
