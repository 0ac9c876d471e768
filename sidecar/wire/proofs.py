"""How a program outside of OpenClaw proves that it knows the hooks token, without saying it."""

import hmac
from hashlib import sha256


def to_prove(challenge: str, name: str) -> bytes:
    """What it proves the token on: this link (the nonce of its `Challenge`), and the name that it gives itself."""
    return f"cotenant\n{challenge}\n{name}".encode()


def token_proof(token: str, challenge: str, name: str) -> str:
    """The ``proof`` of its hello: hexadecimal HMAC-SHA256."""
    return hmac.new(token.encode(), to_prove(challenge, name), sha256).hexdigest()
