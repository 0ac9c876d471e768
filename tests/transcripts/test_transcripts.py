"""Each transcript is played through the real core, and each of its incidents is replayed from an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.cli import main
from sidecar.store.recordings import exported
from tests.transcripts.player import Story, UnknownCommandError
from tests.transcripts.script import Command, parse, render
from tests.transcripts.told import story_of, summary

if TYPE_CHECKING:
    from sidecar.core.incident import Incident

STORIES: Final = sorted((Path(__file__).parent / "stories").glob("*.txt"))


def incidents(story: Story) -> list[Incident]:
    """Those that were saved, as they were saved last, oldest first."""
    return sorted(story.saved.values(), key=lambda incident: (incident.opened_at_ns, incident.window))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_core_decides_as_the_transcript_says(
    path: Path, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    blocks = parse(path)
    for block in blocks:
        story.output = []
        for command in block.commands:
            if command.words == ("story",):
                story.output += [line for incident in incidents(story) for line in story_of(incident, story.labels)]
            else:
                story.play(command)
        block.output = story.output
    assert blocks[-1].commands[-1].words == ("story",), "a transcript ends with the story of its incidents"
    if request.config.getoption("rewrite", default=False):
        path.write_text(render(blocks), encoding="utf-8")
    assert render(blocks) == path.read_text(encoding="utf-8")
    assert [summary(incident) for incident in incidents(story)] == story.expected

    for incident in incidents(story):
        if incident.window:
            kept = story.kept[incident.window]
            file = tmp_path / f"{incident.window}.json"
            file.write_text(json.dumps(exported(incident, kept.recording)), encoding="utf-8")
            capsys.readouterr()
            main(["replay", "--json", str(file)])
            assert json.loads(capsys.readouterr().out) == {
                "same": True,
                "verdict": incident.verdict.value,
                "differences": [],
            }


@pytest.mark.parametrize("words", [("thunder",), ("append", "nobody"), ("fence", "a", "b", "c", "d", "e", "f", "g")])
def test_a_line_that_is_no_command_is_named(words: tuple[str, ...]) -> None:
    with pytest.raises(UnknownCommandError, match=r"a\.txt:7"):
        Story().play(Command("a.txt:7", words, {}))
