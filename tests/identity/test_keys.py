"""Keys: what proves a process, and what does not."""

import hmac
from pathlib import Path
from typing import Final

import pytest

from sidecar.identity.errors import KeyFileError
from sidecar.identity.keys import KEY_FILE, SECRET_BYTES, Keys

PROCESS: Final = (4711, 99)
NONCE: Final = "0" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / KEY_FILE


def proof(secret: str, word: str, nonce: str = NONCE) -> str:
    """As docs/wire.schema.json describes it."""
    return hmac.digest(bytes.fromhex(secret), f"{word}\n{nonce}".encode(), "sha256").hex()


def test_a_key_outlives_a_restart_of_the_sidecar(path: Path) -> None:
    key, secret = Keys.of_file(path).give(PROCESS, pinned=False)
    later = Keys.of_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert later.is_of(key, PROCESS, pinned=False)
    assert later.proves(key, proof(secret, "gateway"), NONCE)
    assert later.prove(key, NONCE) == proof(secret, "sidecar")


def test_a_key_is_of_one_process_and_of_one_kind(path: Path) -> None:
    keys = Keys.of_file(path)
    key, _ = keys.give(PROCESS, pinned=False)
    assert not keys.is_of(key, (4711, 100), pinned=False)
    assert not keys.is_of(key, (4712, 99), pinned=False)
    assert not keys.is_of(key, PROCESS, pinned=True)
    assert not keys.is_of("0" * 32, PROCESS, pinned=False)
    assert not Keys(b"1" * SECRET_BYTES).is_of(key, PROCESS, pinned=False)


def test_a_proof_is_of_one_challenge_one_key_and_one_side(path: Path) -> None:
    keys = Keys.of_file(path)
    (key, secret), (other, _) = keys.give(PROCESS, pinned=False), keys.give(PROCESS, pinned=False)
    assert other > key
    assert not keys.proves(key, proof(secret, "gateway", "1" * 32), NONCE)
    assert not keys.proves(key, proof(secret, "sidecar"), NONCE)
    assert not keys.proves(other, proof(secret, "gateway"), NONCE)
    assert not keys.proves(key, "", NONCE)
    assert keys.prove("", NONCE) == ""


@pytest.mark.parametrize("spoilt", ["readable", "short", "long", "a directory"])
def test_a_secret_that_can_not_be_trusted_is_refused_with_what_to_do(path: Path, spoilt: str) -> None:
    path.parent.mkdir()
    match spoilt:
        case "a directory":
            path.mkdir()
        case _:
            path.write_bytes(b"x" * {"readable": 32, "short": 31, "long": 33}[spoilt])
            path.chmod(0o644 if spoilt == "readable" else 0o600)
    with pytest.raises(KeyFileError, match="remove it"):
        Keys.of_file(path)
