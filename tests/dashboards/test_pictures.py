"""The pictures of the docs: there is one for each dashboard, and they can be drawn."""

from pathlib import Path

import pytest

from tests.dashboards.grafana import FILES, load
from tests.dashboards.hour import Hour
from tests.dashboards.pictures import IMAGES, draw

PNG = b"\x89PNG"


def test_the_docs_show_a_picture_of_each_dashboard() -> None:
    text = (IMAGES.parent / "dashboards.md").read_text("utf-8")

    assert {path.stem for path in IMAGES.glob("*.png")} == {path.stem for path in FILES}
    assert all(f"(images/{path.stem}.png)" in text for path in FILES)
    assert "no screenshots" in text


@pytest.mark.timeout(240)  # the hour itself, once
def test_a_dashboard_can_be_drawn(hour: Hour, tmp_path: Path) -> None:
    (path,) = [path for path in FILES if path.stem == "openclaw-one-session"]

    draw(load(path), hour, tmp_path / "board.png")

    assert (tmp_path / "board.png").read_bytes().startswith(PNG)
