"""Policy files: what is taken, and what is refused with line, key and reason."""

import tomllib
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.policy import PolicyError, parse_policy, read_policy
from sidecar.config.policyfile import json_schema
from sidecar.config.positions import Positions
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.budget import Limit, Limits
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import AccessRequest, Permission
from sidecar.core.policy.storm import StormLimit
from sidecar.json_layout import layout
from sidecar.store.reader import session_hash

DOCS: Final = Path(__file__).parents[2] / "docs"
NAME: Final = Path("policy.toml")
S: Final = 1_000_000_000


def parsed(text: str) -> Policy:
    return parse_policy(NAME, text.encode())


def refusals(text: str | bytes) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(NAME, text if isinstance(text, bytes) else text.encode())
    assert not caught.value.usage
    assert not caught.value.unreadable
    lines = [finding.text(NAME) for finding in caught.value.findings]
    assert all(line.isprintable() for line in lines)
    assert lines[0] in str(caught.value)
    return [line.removeprefix("policy.toml:").lstrip() for line in lines]


def test_an_empty_file_is_the_built_in_policy() -> None:
    found = parsed("# nothing\n")
    assert found == Policy(digest=found.digest)
    assert len(found.digest) == 12


def test_every_part_of_a_file_comes_into_force() -> None:
    policy = parsed("""
        version = 1
        default = { may = "append", evidence = "kernel" }
        unchanged.executables = ["/usr/bin/rsync"]
        unchanged.uids = [0]
        budget.session = { recoveries = 3, per = "90s" }
        [budget.gateway]
        recoveries = 0
        per = "31d"
        [storm]
        sessions = 5
        within = "2m"
        cooldown = "1h"
        [patience]
        tries = 2
        executables = ["/usr/bin/restic"]
        [[rule]]
        name = "one"
        kinds = ["cron", "heartbeat"]
        names = ["ops-*"]
        executables = ["/usr/bin/node"]
        uids = [0, 1000]
        agents = ["main"]
        sessions = ["agent:main:main", "0123456789abcdef", "0a*"]
        files = ["*.jsonl"]
        may = "metadata"
        evidence = "bytes"
        [[rule]]
        name = "two"
        may = "nothing"
    """)
    assert (policy.default, policy.needs) == (Permission.APPEND, Grade.KERNEL)
    assert [glob.text for glob in policy.unchanged.executables] == ["/usr/bin/rsync"]
    assert policy.unchanged.uids == {0}
    assert policy.limits == Limits(session=Limit(3, 90 * S), gateway=Limit(0, 31 * 86_400 * S))
    assert policy.storm == StormLimit(5, 120 * S, 3600 * S)
    assert policy.patience is not None
    assert (policy.patience.tries, [g.text for g in policy.patience.executables]) == (2, ["/usr/bin/restic"])
    one, two = policy.rules
    assert (one.name, one.may, one.needs, one.line) == ("one", Permission.METADATA, Grade.BYTES, 17)
    assert one.kinds == {WriterKind.CRON, WriterKind.HEARTBEAT}
    assert one.uids == {0, 1000}
    texts = [[g.text for g in globs] for globs in (one.names, one.executables, one.agents, one.files)]
    assert texts == [["ops-*"], ["/usr/bin/node"], ["main"], ["*.jsonl"]]
    assert [g.text for g in one.sessions] == [session_hash("agent:main:main"), "0123456789abcdef", "0a*"]
    assert (two.kinds, two.needs, two.line) == (frozenset(), None, 28)


def test_a_session_key_is_found_by_the_hash_that_the_preload_sends() -> None:
    policy = parsed('[[rule]]\nname = "r"\nsessions = ["agent:main:main"]\nmay = "nothing"\n')
    writer = Writer(WriterKind.INJECT)
    mine = AccessRequest(writer=writer, did=Permission.APPEND, session=session_hash("agent:main:main"))
    assert not policy.decide(mine).allows(Permission.APPEND)
    assert policy.decide(
        AccessRequest(writer=writer, did=Permission.APPEND, session=session_hash("agent:main:x"))
    ).allows(Permission.APPEND)


RULE: Final = '[[rule]]\nname = "r"\nmay = "append"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a =\n", "1: no TOML: Invalid value"),
        ("\n\na = 1\na = 2\n", "4: no TOML: Cannot overwrite a value"),
        (b"# fine\nx = '\xff'\n", "2: is not UTF-8; save it as UTF-8"),
        ("#" * (1 << 20) + "\n", "is larger than 262144 bytes; check --policy"),
        ("\nrules = []\n", "2: rules: unknown key; did you mean rule?"),
        ("version = 2\n", "1: version: invalid enum value 2; this release knows version 1"),
        ("rule = 1\n", "1: rule: expected `array`, got `int`"),
        ("[default]\n\nmay = 'all'\n", "3: default.may: 'all' is none of nothing, metadata, append, rewrite"),
        ("[default]\nmay = 1\n", "2: default.may: expected `str`, got `int`"),
        ("default = { evidence = 'none' }\n", "1: default.evidence: 'none' is none of bytes, kernel; recovery never"),
        ("[default]\nevidence = 'bracket'\n", "2: default.evidence: 'bracket' is none of bytes, kernel; recovery"),
        ("[[rule]]\nmay = 'append'\n", "1: rule[0].name: is missing; add it"),
        ("[[rule]]\nname = 'a'\n", "1: rule[0].may: is missing; add it"),
        (
            RULE + "\n[[rule]]\nname='s'\nmay='append'\nkind=['cron']\n",
            "8: rule[1].kind: unknown key; did you mean kinds?",
        ),
        (RULE + "kinds = []\n", "4: rule[0].kinds: expected `array` of length >= 1"),
        (RULE + "kinds = [\n 'cron',\n 'crone',\n]\n", "4: rule[0].kinds[1]: 'crone' is none of user_turn, heartbeat"),
        (RULE + "kinds = ['cron', 'foreign']\n", "4: rule[0].kinds: a foreign process is never a co-tenant"),
        (RULE + "names = ['x[']\n", "4: rule[0].names: 'x[' has a [ without its ]"),
        (RULE + "names = ['']\n", "4: rule[0].names[0]: expected `str` of length >= 1"),
        (RULE + "files = ['a/b']\n", "4: rule[0].files: 'a/b' is a path that does not begin with /"),
        (RULE + "uids = [-1]\n", "4: rule[0].uids[0]: expected `int` >= 0"),
        (RULE + "sessions = ['agent:*']\n", "4: rule[0].sessions: 'agent:*' is a pattern, and keys can only be"),
        ("[[rule]]\nname = 'a b'\nmay = 'append'\n", "2: rule[0].name: 'a b' is not of the form; letters, digits"),
        ("[[rule]]\nmay = 'append'\nname = 'default'\n", "3: rule[0].name: 'default' has a meaning of its own"),
        ("[storm]\nsessions = 1\nwithin = '1s'\ncooldown = '1s'\n", "2: storm.sessions: expected `int` >= 2; a storm"),
        (
            "[storm]\nsessions = 2\nwithin = '1 s'\ncooldown = '1s'\n",
            "3: storm.within: '1 s' is not of the form; give a",
        ),
        ("[patience]\ntries = 4\n", "2: patience.tries: expected `int` <= 3"),
        ("[budget]\nsession = { recoveries = 1, per = '32d' }\n", "2: budget.session.per: '32d' is longer than 31d"),
        ("[budget.session]\nrecoveries = 1\n", "1: budget.session.per: is missing; add it"),
        ("[budget.session]\nrecoveries = -1\nper='1s'\n", "2: budget.session.recoveries: expected `int` >= 0"),
        ("[unchanged]\nexecutables = ['/x']\nallow = false\n", "3: unchanged.allow: is false, so executables and uids"),
    ],
)
def test_a_bad_file_is_refused_with_line_key_and_reason(text: str | bytes, said: str) -> None:
    assert refusals(text)[0].startswith(said)


def test_all_that_is_wrong_with_a_file_is_told_at_once_in_its_order() -> None:
    found = refusals("""\
[[rule]]
name = "a"
kinds = ["cron"]
names = ["["]
may = "append"

[[rule]]
name = "a"
kinds = ["cron"]
names = ["["]
uids = [1]
sessions = ["*:main"]
may = "nothing"
""")
    assert [line.partition(" ")[0] for line in found] == ["4:", "8:", "10:", "12:"]


def test_a_rule_that_can_never_decide_is_refused() -> None:
    """Who forbids something below a rule that allows it would find out too late."""
    [said] = refusals(RULE + "\n[[rule]]\nname = 'deny'\nkinds = ['cron']\nmay = 'nothing'\n")
    assert said == "5: rule[1]: can never decide: 'r' in line 1 matches all that it does; move it up"


def test_a_file_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    for path in (tmp_path / "no.toml", tmp_path):
        with pytest.raises(PolicyError, match="check --policy") as caught:
            read_policy(path)
        assert caught.value.unreadable


@given(st.text(alphabet="[]{}\"'\\=.,# \na1", max_size=60))
def test_any_text_is_a_policy_or_is_refused(text: str) -> None:
    try:
        parsed(text)
    except PolicyError as error:
        beyond = [finding for finding in error.findings if not 0 <= finding.line <= text.count("\n") + 1]
    else:
        beyond = []
    assert beyond == []


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2\n", ("b",), 2),
        ("a = '''\nb = 1\n'''\nb = 2\n", ("b",), 4),
        ('a = """\nb = 1 \\"""\n"""\nb = 2\n', ("b",), 4),
        ("a = [\n 'b = [',\n # ]\n]\nb = 2\n", ("b",), 5),
        ("a = '# [' # [\nb = 2\n", ("b",), 2),
        ("[a]\nb = 1\n[c]\nb = 2\n", ("c", "b"), 4),
        ("[[a]]\nb = 1\n[[a]]\n\nb = 2\n", ("a", 1, "b"), 5),
        ("[[a]]\n[a.c]\nb = 1\n[[a]]\n[a.c]\nb = 2\n", ("a", 1, "c", "b"), 6),
        ("a.b.c = 1\n", ("a", "b"), 1),
        ('"a b".c = 1\n\n["d"]\ne = 1\n', ("d", "e"), 4),
        ("a = { b = 1 }\nc = 1\n", ("a", "b"), 1),
        ("a = 1\n", ("nowhere", "at", "all"), 1),
    ],
)
def test_the_line_of_a_key(text: str, path: tuple[str | int, ...], line: int) -> None:
    tomllib.loads(text)
    assert Positions(text).line(path) == line


def test_the_example_is_taken_and_fits_the_schema() -> None:
    example = DOCS / "policy.example.toml"
    assert len(read_policy(example).rules) >= 4
    jsonschema.validate(tomllib.loads(example.read_text(encoding="utf-8")), json_schema())


def test_the_example_shows_every_key() -> None:
    shown = tomllib.loads((DOCS / "policy.example.toml").read_text(encoding="utf-8"))
    schema = json_schema()
    assert set(shown) == set(schema["properties"])
    asked = {key for rule in shown["rule"] for key in rule}
    assert asked == set(schema["definitions"]["RulePart"]["properties"])


def test_the_published_schema_is_the_one_that_is_made_from_the_types() -> None:
    assert (DOCS / "policy.schema.json").read_text(encoding="utf-8") == layout(json_schema()), (
        "`openclaw-sidecar policy schema > docs/policy.schema.json` writes it anew"
    )
    jsonschema.Draft4Validator.check_schema(json_schema())


@pytest.mark.parametrize(
    "document",
    [
        {"rules": []},
        {"version": 2},
        {"default": {"may": "all"}},
        {"default": {"evidence": "none"}},
        {"rule": [{"name": "a"}]},
        {"rule": [{"name": "a b", "may": "append"}]},
        {"rule": [{"name": "a", "may": "append", "kinds": []}]},
        {"rule": [{"name": "a", "may": "append", "kinds": ["foreign"]}]},
        {"rule": [{"name": "a", "may": "append", "uids": [-1]}]},
        {"storm": {"sessions": 1, "within": "1s", "cooldown": "1s"}},
        {"budget": {"session": {"recoveries": 1, "per": "1 h"}}},
    ],
)
def test_an_editor_with_the_schema_refuses_what_the_sidecar_refuses(document: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json_schema())


def test_a_rule_that_would_believe_every_process_of_the_user_is_refused() -> None:
    [line] = refusals('[[rule]]\nname = "r"\nmay = "append"\nkinds = ["cron"]\nunverified = true\n')
    assert line.startswith("5: rule[0].unverified: would believe every process")
    assert parsed('[[rule]]\nname = "r"\nmay = "append"\nuids = [7]\nunverified = true\n').admits("", 7) == "r"
