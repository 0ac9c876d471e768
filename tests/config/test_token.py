"""The file with the hooks token."""

from pathlib import Path

import pytest

from sidecar.config.errors import TokenError
from sidecar.config.token import MIN_CHARACTERS, make_token, read_token


def test_a_made_token_is_private_long_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "data" / "hooks.token"
    token = make_token(path)

    assert read_token(path) == token
    assert len(token) >= MIN_CHARACTERS
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["hooks.token"]


def test_each_made_token_is_another(tmp_path: Path) -> None:
    assert make_token(tmp_path / "t") != make_token(tmp_path / "t")


def test_no_file_is_no_token(tmp_path: Path) -> None:
    assert read_token(tmp_path / "t") is None


@pytest.mark.parametrize("text", ["", "\n", "short", "a" * 31, "two words " * 9, "ü" * 40, "a" * 5000, "a" * 40 + "\0"])
def test_what_is_no_secret_is_refused_with_the_remedy_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)

    with pytest.raises(TokenError, match="hooks token --rotate") as caught:
        read_token(path)
    assert not text.strip() or text not in str(caught.value).replace(str(path), "")


def test_a_file_that_others_may_write_to_is_no_secret(tmp_path: Path) -> None:
    make_token(tmp_path / "t")
    (tmp_path / "t").chmod(0o622)

    with pytest.raises(TokenError, match="other users may write"):
        read_token(tmp_path / "t")
