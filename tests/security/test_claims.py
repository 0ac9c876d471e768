"""Each sentence of docs/security.md about who can do what names a test, and that test exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _sentences() -> list[str]:
    """The items of the page's lists, each with the lines that it goes on over."""
    items = re.split(r"^- ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [re.split(r"\n\s*\n|\n#", item)[0] for item in items]


def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_sentence_about_who_can_do_what_names_a_test_that_exists() -> None:
    sentences = _sentences()
    assert len(sentences) > 20
    without = [sentence for sentence in sentences if not NAMED.search(sentence)]
    named = {match for sentence in sentences for match in NAMED.findall(sentence)}
    missing = [f"{path}::{name}" for path, name in named if name not in _functions(ROOT / path)]
    assert (without, missing) == ([], [])
