"""The page of reasons says what the code says."""

import re
from pathlib import Path

from sidecar.words import REASONS

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"


def test_every_code_is_on_the_page_with_its_parameters_and_words() -> None:
    spoken = {code: re.sub(r"{(\w+)[^}]*}", r"*\1*", words) for code, words in REASONS.items()}
    rows = [
        f"| `{code.value}` | {', '.join(f'`{name}`' for name in code.parameters)} | {words} |"
        for code, words in spoken.items()
    ]

    page = PAGE.read_text(encoding="utf-8")
    assert page.split("| code | parameters | in words |\n|---|---|---|\n")[1].splitlines() == rows
