"""Which word of a command line of Node is its main script."""

import pytest

from sidecar.identity.arguments import main_script


@pytest.mark.parametrize(
    ("line", "script"),
    [
        ("node /x/openclaw.mjs gateway --port 1", "/x/openclaw.mjs"),
        ("node --import /p/preload.mjs --no-warnings --disable-warning=A b.mjs", "b.mjs"),
        ("node -r /p/a.cjs --max-old-space-size=99 --expose-gc b.mjs", "b.mjs"),
        ("node -- b.mjs", "b.mjs"),
        ("node", ""),
        ("node -", ""),
        ("node --import", ""),
        ("node -e process.exit() /x/openclaw.mjs", ""),
        ("node -pe 1 /x/openclaw.mjs", ""),
        ("node --eval 1 /x/openclaw.mjs", ""),
        ("node --title /x/openclaw.mjs evil.mjs", ""),
        ("node --title=a evil.mjs /x/openclaw.mjs", "evil.mjs"),
        ("node --trace-warnings evil.mjs /x/openclaw.mjs", "evil.mjs"),
    ],
)
def test_the_main_script_is_told_only_where_no_other_word_could_be_it(line: str, script: str) -> None:
    assert main_script(line.split(" ")) == script
