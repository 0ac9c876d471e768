"""`openclaw-sidecar hooks token` and `api token`."""

from pathlib import Path

import pytest

from tests.cli.conftest import Command


def test_it_makes_a_token_once_and_prints_it_again(cli: Command, data_dir: Path) -> None:
    first, second = cli("hooks", "token"), cli("hooks", "token")

    assert (first.code, second.code) == (0, 0)
    assert first.out == second.out == (data_dir / "hooks.token").read_text()
    assert (str(data_dir / "hooks.token") in first.err, second.err) == (True, "")


def test_it_changes_the_token_when_asked_to(cli: Command, data_dir: Path) -> None:
    before = cli("hooks", "token").out
    after = cli("hooks", "token", "--rotate", "--json").json()

    assert after["token"] != before.strip()
    assert after == {"token": after["token"], "file": str(data_dir / "hooks.token"), "made": True}
    assert cli("hooks", "token", "--json").json() == after | {"made": False}


def test_a_token_that_is_no_secret_is_told_with_the_remedy(cli: Command, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "hooks.token").write_text("letmein\n")
    done = cli("hooks", "token")

    assert (done.code, done.out) == (3, "")
    assert "it has 7 characters, and 32 are needed" in done.err
    assert "--rotate" in done.err
    assert "letmein" not in done.err
    assert cli("hooks", "token", "--rotate").code == 0


def test_the_file_may_be_elsewhere(cli: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCLAW_SIDECAR_HOOKS_TOKEN_FILE", str(home / "secret"))

    assert cli("hooks", "token").out == (home / "secret").read_text()


def test_the_token_that_reads_is_another_one(cli: Command, data_dir: Path) -> None:
    reads, announces = cli("api", "token").out, cli("hooks", "token").out

    assert reads == (data_dir / "api.token").read_text()
    assert reads != announces
    assert cli("api", "token", "--rotate").out != reads
    (data_dir / "api.token").write_text("letmein\n")
    assert "`openclaw-sidecar api token --rotate`" in cli("api", "token").err
