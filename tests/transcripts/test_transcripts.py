"""Each transcript is played through the real core, and each of its incidents is replayed from an export."""

import json
from pathlib import Path
from typing import Final

import pytest

from sidecar.cli import main
from sidecar.core.verdict.incident import Incident
from sidecar.json_layout import layout
from sidecar.store.recordings import exported
from tests.transcripts.player import Story, UnknownCommandError
from tests.transcripts.script import Block, Command, parse, render
from tests.transcripts.told import story_of, summary

STORIES: Final = Path(__file__).parent / "stories"
DOCUMENTED: Final = Path(__file__).parents[1] / "replay" / "cron_announce.json"


def incidents(story: Story) -> list[Incident]:
    """Those that were saved, as they were saved last, oldest first."""
    return sorted(story.saved.values(), key=lambda incident: (incident.opened_at_ns, incident.window))


@pytest.mark.parametrize("path", sorted(STORIES.glob("*.txt")), ids=lambda path: path.stem)
def test_the_core_decides_as_the_transcript_says(
    path: Path, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    blocks = parse(path)
    played(story, blocks)
    assert blocks[-1].commands[-1].words == ("story",), "a transcript ends with the story of its incidents"
    if request.config.getoption("rewrite", default=False):
        path.write_text(render(blocks), encoding="utf-8")
    assert render(blocks) == path.read_text(encoding="utf-8")
    assert [summary(incident) for incident in incidents(story)] == story.expected

    for incident in incidents(story):
        if incident.window:
            file = tmp_path / "incident.json"
            file.write_text(json.dumps(exported(incident, story.kept[incident.window].recording)), encoding="utf-8")
            capsys.readouterr()
            main(["replay", "--json", str(file)])
            told = json.loads(capsys.readouterr().out)
            assert told == {"same": True, "verdict": incident.verdict.value, "differences": []}


def test_the_export_in_the_documentation_is_of_this_transcript(request: pytest.FixtureRequest) -> None:
    """`--rewrite` writes this file, too."""
    story = Story()
    blocks = parse(STORIES / "cron_announce.txt")
    played(story, blocks)
    (kept,) = story.kept.values()
    body = {**exported(kept.incident, kept.recording), "about": blocks[0].text[0].removeprefix("# ")}
    text = layout(body)
    if request.config.getoption("rewrite", default=False):
        DOCUMENTED.write_text(text, encoding="utf-8")
    assert text == DOCUMENTED.read_text(encoding="utf-8")


def played(story: Story, blocks: list[Block]) -> None:
    """Play the commands of all blocks, and put what follows in their outputs."""
    for block in blocks:
        story.output = []
        for command in block.commands:
            if command.words == ("story",):
                story.output += [line for incident in incidents(story) for line in story_of(incident, story.labels)]
            else:
                story.play(command)
        block.output = story.output


@pytest.mark.parametrize("words", [("thunder",), ("append", "nobody"), ("fence", "a", "b", "c", "d", "e", "f", "g")])
def test_a_line_that_is_no_command_is_named(words: tuple[str, ...]) -> None:
    with pytest.raises(UnknownCommandError, match=r"a\.txt:7"):
        Story().play(Command("a.txt:7", words, {}))
