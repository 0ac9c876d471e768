from pathlib import Path

import pytest

from sidecar.config.errors import ConfigError
from sidecar.config.resolve import Flags, resolve


def refused(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        resolve(Flags(config=str(path)), {"HOME": "/home/joe"})
    said = str(caught.value)
    assert said.startswith(f"config {path}")
    assert "\n" not in said
    assert not caught.value.usage
    return said.removeprefix(f"config {path}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\n\nstate_dir = \n", ", line 3: no TOML: Invalid value"),
        ('state_dir = "a"\nstate_dir = "b"\n', ", line 2: no TOML: Cannot overwrite a value"),
        ('socket = "a', ", line 1: no TOML: "),
        ('# hello\nsate_dir = "x"\n', ", line 2, sate_dir: unknown key; did you mean state_dir?"),
        (
            "zzz = 1\n",
            (
                ", line 1, zzz: unknown key; known are api_token_file, data_dir, gateway_uid, hooks_token_file, http"
                ", http_names"
            ),
        ),
        ("observe = true\n\n[store]\na = 1\n", ", line 3, store: unknown key; "),
        ("observe = true\n\n[policy]\na = 1\n", ", line 3, policy: has to be a string, not a table"),
        ("http.port = 1\n", ", line 1, http: has to be a string, not a table"),
        ("observe = 1\n", ", line 1, observe: has to be true or false, not an integer"),
        ("state_dir = true\n", ", line 1, state_dir: has to be a string, not true or false"),
        ("http = 9464\n", ", line 1, http: has to be a string, not an integer"),
        ('http = "9464"\n', ", line 1, http: '9464' is not HOST:PORT"),
        ('log_format = "xml"\n', ", line 1, log_format: 'xml' is none of auto, console, json"),
        ("socket = 2026-01-01\n", ", line 1, socket: has to be a string, not a date or time"),
        ('"\\n\\u001b[2J" = 1\n', ", line 1, \\x0a\\x1b[2J: unknown key"),
        (b"socket = '\xff'\n", ", line 1: is not UTF-8; save it as UTF-8"),
    ],
)
def test_a_bad_file_is_refused_with_line_key_and_reason(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert refused(tmp_path / "c.toml", content).startswith(said)


@pytest.mark.parametrize("content", ['notify = "json://secret"', 'notify = ["json://secret", 1]', "notify = [[]]"])
def test_a_refusal_shows_no_notification_url(tmp_path: Path, content: str) -> None:
    said = refused(tmp_path / "c.toml", content)
    assert said == ", line 1, notify: has to be an array of strings"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; check --config"):
        resolve(Flags(config=str(tmp_path / "no.toml")), {"HOME": "/home/joe"})
    with pytest.raises(ConfigError, match="Is a directory"):
        resolve(Flags(config=str(tmp_path)), {"HOME": "/home/joe"})


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("# nothing\n")
    environ = {"HOME": "/home/joe"}
    assert resolve(Flags(config=str(tmp_path / "c.toml")), environ) == resolve(Flags(), environ)
