"""A sidecar that is killed with -9 on the way from a takeover to its page."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

TAKEN_AND_NOT_ON_RECORD = {"after send", "before page_delivered"}
"""The destination has the page, and nothing on disk says so."""


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What was left of a sidecar that was killed at each step, and lived again."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.driver.killed", str(tmp_path_factory.mktemp("lives"))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_every_step_was_the_last_one_once(lives: list[dict[str, Any]]) -> None:
    steps = [life["step"] for life in lives]
    assert steps[-1] == "", "the last life was not killed"
    for name in ("commit", "command", "send", "page_delivered", "page_attempted"):
        assert {f"before {name}", f"after {name}"} <= set(steps)


def test_no_page_of_an_incident_that_is_on_disk_is_lost(lives: list[dict[str, Any]]) -> None:
    assert [life for life in lives if life["incidents"] and not life["sent"]] == []


def test_nobody_was_answered_of_whom_nothing_is_on_disk(lives: list[dict[str, Any]]) -> None:
    assert [life for life in lives if not life["incidents"] and (life["heard"] or life["sent"])] == []


def test_no_page_is_sent_twice_unless_nobody_can_know_that_it_was_taken(lives: list[dict[str, Any]]) -> None:
    for life in lives:
        most = 2 if life["step"] in TAKEN_AND_NOT_ON_RECORD else 1
        assert life["sent"] <= most, life
