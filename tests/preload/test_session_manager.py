"""What a run's session manager learns of its co-tenants: what it appends next continues one line, nothing twice.

On the real session managers: pi's, which 2026.5.18 to 5.20 have (swap), and that of 2026.7.35 (reload).
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.demo.packages import GatewayPackage
from tests.preload.kit import PRELOAD, Evaluator

HEADER: Final = {"type": "session", "version": 3, "id": "s", "timestamp": "2026-01-01T00:00:00.000Z", "cwd": "/"}

APPEND_HOOK: Final = (PRELOAD.parent / "fence" / "append_hook.mjs").as_uri()
PROGRAM: Final = """
const { fingerprintOf } = await import(PRELOAD + "/fingerprint.mjs");
const history = await import(PRELOAD + "/fence/session_manager.mjs");
let file;
let manager;
let fence;
const open = (path) => new SessionManager("/", path.slice(0, path.lastIndexOf("/")), path, true);
const say = (role, text) => manager.appendMessage({ role, content: [{ type: "text", text }], timestamp: 1 });
const shape = (m) => [m.getEntries().map((entry) => entry.id), m.getBranch().map((entry) => entry.id), m.getLeafId()];
const texts = (m) => m.buildSessionContext().messages.map((message) => message.content[0].text);

/** What the preload does at the gateway's check. */
function teach() {
  const records = history.recordsSince(file, fence, fingerprintOf(file));
  const ids = history.unknownTo(manager, records).map((record) => record.id);
  history.teach(manager, records);
  fence = fingerprintOf(file);
  return ids;
}

function begin(path) {
  file = path;
  manager = open(file);
  fence = fingerprintOf(file);
}
"""


@pytest.fixture(scope="module")
def pi(package: GatewayPackage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    """A process with the session manager of 2026.5.18."""
    modules = package.root / "node_modules" / "@earendil-works" / "pi-coding-agent" / "dist" / "core"
    source = f'const {{ SessionManager }} = await import("{(modules / "session-manager.js").as_uri()}");\n'
    with Evaluator(package.node, tmp_path_factory.mktemp("pi"), program(source)) as opened:
        yield opened


@pytest.fixture(scope="module")
def later(packages: Callable[[str], GatewayPackage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    """A process with the session manager of 2026.7.35."""
    package = packages("2026.7.35")
    modules = (package.root / "node_modules" / "openclaw" / "dist").glob("session-manager-*.js")
    [module] = (path for path in modules if "class SessionManager" in path.read_text())
    source = f'const {{ t: SessionManager }} = await import("{module.as_uri()}");\n'
    with Evaluator(package.node, tmp_path_factory.mktemp("later"), program(source)) as opened:
        yield opened


@pytest.fixture(params=["pi", "later"])
def either(request: pytest.FixtureRequest) -> Evaluator:
    """Each of the two: one saves a first turn by appending all of it, the other by writing the whole file."""
    opened: Evaluator = request.getfixturevalue(request.param)
    return opened


def program(source: str) -> str:
    return source + PROGRAM.replace("PRELOAD", repr(PRELOAD.parent.as_uri()))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    return sessions / "s.jsonl"


def note(file: Path, record_id: str, *, role: str = "assistant") -> None:
    """A co-tenant's append, as `appendSessionTranscriptMessage` does it: header if needed, child of the last record."""
    known = records(file)
    with file.open("a") as out:
        if not known:
            out.write(json.dumps(HEADER) + "\n")
        last = known[-1]["id"] if len(known) > 1 else None
        out.write(json.dumps(message(record_id, last, role)) + "\n")


def message(record_id: str, parent_id: str | None, role: str) -> dict[str, Any]:
    content = {"role": role, "content": [{"type": "text", "text": record_id}], "timestamp": 1}
    return {"type": "message", "id": record_id, "parentId": parent_id, "timestamp": "t", "message": content}


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def assert_one_line(file: Path, texts: list[str]) -> None:
    """Header first and once, each record once and child of the one ahead of it."""
    header, *entries = records(file)
    assert header["type"] == "session"
    assert [entry["message"]["content"][0]["text"] for entry in entries] == texts
    assert [entry["parentId"] for entry in entries] == [None, *(entry["id"] for entry in entries[:-1])]


def assert_known(pi: Evaluator, file: Path, texts: list[str]) -> None:
    """The file is one line; the manager knows what one that opens it now would know, and the model sees all of it."""
    assert_one_line(file, texts)
    assert pi.do("return shape(manager)") == pi.do("return shape(open(file))")
    assert pi.do("return texts(manager)") == texts


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_saved_session_learns_what_co_tenants_appended(either: Evaluator, file: Path, count: int) -> None:
    names = [f"n{number}" for number in range(count)]
    either.do(f"begin({str(file)!r}); say('user', 'hi'); say('assistant', 'ho'); fence = fingerprintOf(file)")
    for name in names:
        note(file, name)
    assert either.do("return teach()") == names
    either.do("say('assistant', 'answer'); say('user', 'more')")
    assert_known(either, file, ["hi", "ho", *names, "answer", "more"])


def test_a_session_learns_again_and_again(either: Evaluator, file: Path) -> None:
    either.do(f"begin({str(file)!r}); say('user', 'hi'); say('assistant', 'ho'); fence = fingerprintOf(file)")
    for number in range(3):
        note(file, f"n{number}")
        either.do(f"teach(); say('assistant', 'a{number}'); fence = fingerprintOf(file)")
    assert_known(either, file, ["hi", "ho", "n0", "a0", "n1", "a1", "n2", "a2"])


def test_what_the_session_knows_already_is_not_learnt_twice(either: Evaluator, file: Path) -> None:
    """A file that was replaced by a copy of itself and more is read from its beginning."""
    either.do(f"begin({str(file)!r}); say('user', 'hi'); say('assistant', 'ho'); fence = fingerprintOf(file)")
    note(file, "n0")
    copy = file.with_suffix(".tmp")
    copy.write_bytes(file.read_bytes())
    copy.replace(file)
    assert either.do("return teach()") == ["n0"]
    either.do("say('assistant', 'answer')")
    assert_known(either, file, ["hi", "ho", "n0", "answer"])


@pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
@pytest.mark.parametrize("role", ["assistant", "user"])
def test_a_first_turn_goes_behind_what_co_tenants_began_the_file_with(
    either: Evaluator, file: Path, role: str, *, empty: bool
) -> None:
    """A first turn is saved with its first answer. 2026.5.18 empties a file without an answer before it."""
    either.do(f"begin({str(file)!r}); say('user', 'hi')")
    assert records(file) == []
    if empty:
        file.touch()
        either.do("fence = fingerprintOf(file)")
    note(file, "n0", role=role)
    note(file, "n1", role=role)
    assert either.do("return teach()") == ["n0", "n1"]
    either.do("say('assistant', 'answer')")
    assert_one_line(file, ["n0", "n1", "hi", "answer"])
    either.do("say('user', 'more'); say('assistant', 'again')")
    assert_known(either, file, ["n0", "n1", "hi", "answer", "more", "again"])


def test_a_first_turn_learns_several_times_before_it_is_saved(either: Evaluator, file: Path) -> None:
    """While an answer streams in, each of its events is a check, and nothing is saved before its end."""
    either.do(f"begin({str(file)!r}); say('user', 'hi')")
    for number in range(3):
        note(file, f"n{number}")
        assert either.do("return teach()") == [f"n{number}"]
    either.do("say('assistant', 'answer'); fence = fingerprintOf(file)")
    assert_one_line(file, ["n0", "n1", "n2", "hi", "answer"])
    note(file, "n3")
    either.do("teach(); say('assistant', 'again')")
    assert_known(either, file, ["n0", "n1", "n2", "hi", "answer", "n3", "again"])


def test_a_first_turn_without_a_word_of_its_own_goes_on_from_the_co_tenants(either: Evaluator, file: Path) -> None:
    either.do(f"begin({str(file)!r})")
    note(file, "n0")
    either.do("teach(); say('user', 'hi'); say('assistant', 'answer')")
    assert_known(either, file, ["n0", "hi", "answer"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"type":"message","id":"n0","parentId":null}\n', "the file has begun in a way that is not known"),
        (b'{"type":"message","id":"n0"', "the last record is incomplete"),
        (b"no JSON\n", "a new record is no JSON"),
    ],
)
def test_a_file_that_can_not_be_learnt_is_refused_and_nothing_is_changed(
    pi: Evaluator, file: Path, content: bytes, reason: str
) -> None:
    pi.do(f"begin({str(file)!r}); say('user', 'hi')")
    before = pi.do("return shape(manager)")
    file.write_bytes(content)
    refused = pi.do("try { teach(); return 'taught'; } catch (error) { return error.message; }")
    assert reason in refused
    assert pi.do("return shape(manager)") == before
    assert pi.do("return [manager.fileEntries.length, Object.hasOwn(manager, '_persist')]") == [2, False]


def test_a_file_that_shrinks_while_it_is_read_is_refused(pi: Evaluator, file: Path) -> None:
    pi.do(f"begin({str(file)!r}); say('user', 'hi'); say('assistant', 'ho'); fence = fingerprintOf(file)")
    note(file, "n0")
    said = pi.do(
        """
        const current = fingerprintOf(file);
        fs.truncateSync(file, 10);
        try { return history.recordsSince(file, fence, current); } catch (error) { return error.message; }
        """
    )
    assert said == "the file changed while its new records were read"


# The releases that reload


def test_a_reload_keeps_what_a_first_turn_has_not_saved(later: Evaluator, file: Path) -> None:
    later.do(f"begin({str(file)!r}); say('user', 'hi')")
    note(file, "n0")
    note(file, "n1")
    later.do("history.reloadKeepingUnsaved(manager, () => manager.setSessionFile(file)); say('assistant', 'answer')")
    assert_one_line(file, ["n0", "n1", "hi", "answer"])
    later.do("say('user', 'more'); say('assistant', 'again')")
    assert_known(later, file, ["n0", "n1", "hi", "answer", "more", "again"])


def test_several_reloads_keep_what_a_first_turn_has_not_saved(later: Evaluator, file: Path) -> None:
    later.do(f"begin({str(file)!r}); say('user', 'hi')")
    for number in range(3):
        note(file, f"n{number}")
        later.do("history.reloadKeepingUnsaved(manager, () => manager.setSessionFile(file))")
    later.do("say('assistant', 'answer')")
    assert_known(later, file, ["n0", "n1", "n2", "hi", "answer"])


def test_a_reload_of_a_saved_session_is_a_reload(later: Evaluator, file: Path) -> None:
    later.do(f"begin({str(file)!r}); say('user', 'hi'); say('assistant', 'ho')")
    note(file, "n0")
    assert (
        later.do("return history.reloadKeepingUnsaved(manager, () => { manager.setSessionFile(file); return 7; })") == 7
    )
    later.do("say('assistant', 'answer')")
    assert_known(later, file, ["hi", "ho", "n0", "answer"])


# The releases whose runs do not come to their check


def test_pis_own_entries_go_on_from_what_is_learnt_as_they_are_appended(pi: Evaluator, file: Path) -> None:
    """2026.5.22 has the same session manager; the preload stands in front of each of its entries."""
    pi.do(
        f"begin({str(file)!r}); const {{ beforeEntries }} = await import({APPEND_HOOK!r});"
        "beforeEntries(manager, teach); beforeEntries(manager, teach); say('user', 'hi')"
    )
    note(file, "n0")
    pi.do("say('assistant', 'answer')")
    assert_one_line(file, ["n0", "hi", "answer"])
    note(file, "n1")
    pi.do("say('user', 'more')")
    note(file, "n2")
    pi.do("say('assistant', 'again')")
    assert_known(pi, file, ["n0", "hi", "answer", "n1", "more", "n2", "again"])


def test_a_branch_with_a_summary_is_left_where_it_was_made(pi: Evaluator, file: Path) -> None:
    pi.do(
        f"begin({str(file)!r}); const {{ beforeEntries }} = await import({APPEND_HOOK!r});"
        "say('user', 'hi'); say('assistant', 'ho'); fence = fingerprintOf(file); beforeEntries(manager, teach)"
    )
    note(file, "n0")
    parent = pi.do("const [first] = manager.getEntries(); manager.branchWithSummary(first.id, 'back'); return first.id")
    assert records(file)[-1]["parentId"] == parent
    assert pi.do("return manager.byId.has('n0')") is False
