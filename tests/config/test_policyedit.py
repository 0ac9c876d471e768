from pathlib import Path

import pytest

from sidecar.config.policy import PolicyError, read_policy
from sidecar.config.policyedit import CotenantRule, add_rule
from sidecar.core.facts.writer import WriterKind
from sidecar.core.policy.rules import Permission

OLD = (
    b'# ours \xe2\x80\x94 do not touch\r\nversion = 1\n\n[[rule]]\nname="a"\nkinds = [ "cron" ]  # jobs\nmay = "append"'
)


@pytest.mark.parametrize(
    ("conditions", "token"),
    [
        ({}, True),
        ({"token": True}, True),
        ({"executables": ("/usr/bin/python3*",)}, False),
        ({"uids": (1000, 0)}, False),
        ({"executables": ('/opt/we"ird\\*', "/opt/ü"), "uids": (7,), "token": True}, True),
    ],
)
def test_the_text_of_a_rule_is_that_rule(tmp_path: Path, conditions: dict[str, object], *, token: bool) -> None:
    path = tmp_path / "policy.toml"
    given = CotenantRule(name="nightly-backup", **conditions)  # type: ignore[arg-type] # of its fields
    path.write_text(given.text, encoding="utf-8")
    [rule] = read_policy(path).rules
    assert (rule.name, rule.kinds, rule.may) == (given.name, frozenset({WriterKind.DECLARED}), Permission.APPEND)
    assert [glob.text for glob in rule.names] == [given.name]
    assert [glob.text for glob in rule.executables] == list(given.executables)
    assert (rule.uids, rule.token) == (frozenset(given.uids), token)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_rule_is_added_behind_all_that_the_file_has_byte_for_byte(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(OLD + end)
    path.chmod(0o640)
    made = add_rule(path, CotenantRule(name="backup"))
    assert path.read_bytes().startswith(OLD)
    assert [rule.name for rule in made.rules] == ["a", "backup"]
    assert read_policy(path) == made
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there_is_made_for_nobody_else_to_write(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    add_rule(path, CotenantRule(name="backup"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [rule.name for rule in read_policy(path).rules] == ["backup"]


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_bytes(OLD)
    link = tmp_path / "policy.toml"
    link.symlink_to("real.toml")
    add_rule(link, CotenantRule(name="backup"))
    assert link.is_symlink()
    assert len(read_policy(tmp_path / "real.toml").rules) == 2


@pytest.mark.parametrize(
    ("old", "name", "why"),
    [
        (b"version = 2\n", "backup", "version 1"),
        (b"version = \n", "backup", ""),
        (OLD, "a", "is the name of the rule"),
        (OLD, "default", "a meaning of its own"),
        (b'rule = [{name="a", kinds=["cron"], may="append"}]\n', "backup", ""),
        (b'[[rule]]\nname="u"\nkinds=["declared"]\nnames=["*"]\nagents=["["]\nmay="append"\n', "backup", "has a ["),
        (b'[[rule]]\nname="b"\nkinds=["declared"]\nnames=["backup"]\nmay="nothing"\n', "backup", "can never decide"),
    ],
)
def test_a_file_that_is_or_would_be_wrong_is_left_alone(tmp_path: Path, old: bytes, name: str, why: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(old)
    before = path.stat()
    with pytest.raises(PolicyError) as raised:
        add_rule(path, CotenantRule(name=name))
    assert why in str(raised.value)
    assert (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) == (old, before.st_ino, before.st_mtime_ns)
    assert list(tmp_path.iterdir()) == [path]
