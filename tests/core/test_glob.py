"""Patterns of names and paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.policy.glob import Glob, GlobError

FILE = "/state/agents/main/sessions/0a1b.jsonl"


@pytest.mark.parametrize(
    ("text", "value", "matches"),
    [
        ("ops-*", "ops-backup", True),
        ("ops-*", "dev-ops-backup", False),
        ("*", "a/b", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[]]", "]", True),
        ("[!]]", "]", False),
        ("[^a]", "^", True),
        ("a.b", "axb", False),
        ("line*", "line\none", True),
        ("Daily", "daily", False),
    ],
)
def test_a_pattern_for_names(text: str, value: str, *, matches: bool) -> None:
    assert Glob(text).matches(value) is matches


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        (FILE, True),
        ("*.jsonl", True),
        ("0a1b.*", True),
        ("0a1b", False),
        ("/state/agents/*/sessions/*.jsonl", True),
        ("/state/*/*.jsonl", False),
        ("/state/**/*.jsonl", True),
        ("**/sessions/*", True),
        ("/state/agents/main/sessions/**/0a1b.jsonl", True),
        ("/state/**", True),
        ("/stat**", True),
        ("/other/**", False),
    ],
)
def test_a_pattern_for_paths(text: str, *, matches: bool) -> None:
    assert Glob(text, path=True).matches(FILE) is matches


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("", False, "is empty"),
        ("a[b", False, "without its ]"),
        ("[z-a]", False, "runs backwards: z-a"),
        ("a\nb", False, "can't be shown"),
        ("sessions/*.jsonl", True, "does not begin with /"),
    ],
)
def test_a_text_that_is_no_pattern_is_refused_with_the_reason(text: str, reason: str, *, path: bool) -> None:
    with pytest.raises(GlobError, match=reason.replace("[", r"\[")):
        Glob(text, path)


@given(st.text(alphabet="ab/*?[]!-^\\.{}()|", max_size=12), st.text(max_size=12), st.booleans())
def test_any_text_is_a_pattern_or_is_refused(text: str, value: str, path: bool) -> None:  # noqa: FBT001 - drawn
    try:
        glob = Glob(text, path)
    except GlobError:
        return
    glob.matches(value)


@given(st.text(alphabet="abc.+$^(){}|\\/ -", min_size=1))
def test_a_pattern_without_a_sign_matches_itself_only(text: str) -> None:
    assert Glob(text).matches(text)
    assert not Glob(text).matches(text + "x")
