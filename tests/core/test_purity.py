"""The rooms import one way, as the table of docs/architecture.md says, and the core does nothing but think."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2] / "sidecar"
ROOMS = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()}
GROUND = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__", "words"}
EVERYTHING = ROOMS | GROUND | {"words"}

_TABLE = Path(__file__).parents[2] / "docs" / "architecture.md"


def _allowed() -> dict[str, set[str]]:
    """The table of docs/architecture.md: each room, and those that it may import."""
    rows = [line for line in _TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    table = {}
    for name, _what, may in (row for row in cells if len(row) == 3):
        named = set(re.findall(r"`(\w+)`", may))
        if may.startswith("all"):
            table[name.strip("`/")] = EVERYTHING - named
        else:
            assert bool(named) is not may.startswith("nothing"), f"{name}: {may}"
            table[name.strip("`/")] = named
    return table


ALLOWED = _allowed()

IMPURE = {
    *("asyncio", "os", "io", "socket", "pathlib", "time", "random", "secrets", "threading", "subprocess", "select"),
    *("signal", "shutil", "tempfile", "logging", "sqlite3", "multiprocessing", "concurrent", "urllib", "http"),
}


def _imports(room: str) -> Iterator[tuple[Path, str]]:
    place = ROOT / room
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports by position"
                yield path, node.module or ""


def _modules() -> dict[str, set[str]]:
    """Every module, and those that it names, be it for types only."""
    paths = {
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in ROOT.rglob("*.py")
    }
    found = {}
    for name, path in paths.items():
        named = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                below = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= below & paths.keys() or {node.module}
        found[name] = named & paths.keys()
    return found


def test_no_module_leads_back_to_itself() -> None:
    try:
        TopologicalSorter(_modules()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_room_is_in_the_table() -> None:
    assert set(ALLOWED) == ROOMS | {"words.py"} | {f"{name}.py" for name in GROUND}
    assert set().union(*ALLOWED.values()) <= EVERYTHING


@pytest.mark.parametrize("name", sorted(GROUND))
def test_a_value_that_several_rooms_use_imports_none_of_them(name: str) -> None:
    assert [module for _, module in _imports(f"{name}.py") if module.startswith("sidecar.")] == []
    assert ALLOWED[f"{name}.py"] == set()


def test_the_words_rest_on_the_core_alone() -> None:
    assert {name.split(".")[1] for _, name in _imports("words.py") if name.startswith("sidecar.")} == {"core"}
    assert ALLOWED["words.py"] == {"core"}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    taken = {
        (path.name, name.split(".")[1])
        for path, name in _imports(room)
        if name.startswith("sidecar.") and name.split(".")[1] != room
    }

    assert [found for found in sorted(taken) if found[1] not in ALLOWED[room]] == []


def test_only_the_ends_of_a_link_know_the_wire() -> None:
    """The sidecar's end, the co-tenant's, and the demo's stand-in for a gateway."""
    knowing = {room for room in ROOMS - {"wire"} if any(name.startswith("sidecar.wire") for _, name in _imports(room))}
    assert knowing == {"link", "cotenant", "demo"}


def test_the_core_imports_nothing_that_touches_the_world() -> None:
    assert [(path.name, name) for path, name in _imports("core") if name.split(".")[0] in IMPURE] == []


def test_the_core_imports_nothing_but_itself_the_standard_library_and_what_values_are_made_of() -> None:
    known = {
        "__future__",
        "bisect",
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "itertools",
        "msgspec",
        "re",
        "typing",
        "sidecar",
    }

    assert {name.split(".")[0] for _path, name in _imports("core")} <= known


CORE: Final = ROOT / "core"
LAYERS: Final = ("facts", "policy", "custody", "verdict", "windows", "replay")
"""The rooms of the core: each may use those ahead of it. The engine and the languages it speaks use them all."""

SPOKEN: Final = frozenset({"events", "decisions", "outcomes", "questions", "reports"})

NEUTRAL: Final = sorted(
    str(path.relative_to(CORE))
    for path in (
        *(CORE / "verdict").glob("[!_]*.py"),
        *(CORE / "policy").glob("[!_]*.py"),
        CORE / "custody" / "finding.py",
        CORE / "custody" / "account.py",
        *(path for path in (CORE / "windows").glob("[!_]*.py") if path.stem != "without_preload"),
    )
)
"""What judges a transcript, be it a file or rows of a database (docs/architecture.md, "Words": version, span).

Not `without_preload`: it opens no window, and tells of files alone, whose fingerprints inotify saw change.
"""

OF_FILES: Final = re.compile(r"sidecar\.core\.(custody\.files|facts\.(content|fingerprint))\b")
FILE_VALUES: Final = frozenset({"Fingerprint", "Manifest", "Segment", "Snapshot", "Content", "Range"})
NAMED_AS_STORED: Final = {
    "file": "the transcript's id in access requests, rules and incidents, as policies and incidents' JSON have it",
    "files": "the condition of a policy's rule",
    "session_file": "the same id in an incident's JSON",
    "bytes": "the size of a writer's share in an incident's JSON",
    "LockFileSeen": "a lock is a file, whatever the transcript is",
    "LockFileGone": "the same",
    "BYTES": "the grade of evidence, as incidents' JSON has it",
}


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id == "ReasonCode"):
                yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg | ast.keyword):
            yield node.arg or ""
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


@pytest.mark.parametrize("layer", LAYERS)
def test_a_room_of_the_core_uses_only_those_ahead_of_it(layer: str) -> None:
    used = {name.split(".")[2] for _path, name in _imports(f"core/{layer}") if name.startswith("sidecar.core.")}
    allowed = {*LAYERS[: LAYERS.index(layer) + 1], "errors"}
    if layer == "windows":
        allowed |= SPOKEN
    if layer == "replay":
        allowed |= SPOKEN | {"engine"}
    assert used - allowed == set()


@pytest.mark.parametrize("module", NEUTRAL)
def test_what_judges_a_transcript_does_not_know_that_it_is_a_file(module: str) -> None:
    tree = ast.parse((CORE / module).read_text(encoding="utf-8"))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = set(_names(tree))

    assert [node.module for node in imported if OF_FILES.match(node.module or "")] == []
    assert {alias.name for node in imported for alias in node.names} & FILE_VALUES == set()
    words = {name for name in names if re.search("bytes|file|fingerprint", name, re.IGNORECASE)}
    assert words - NAMED_AS_STORED.keys() == set()
