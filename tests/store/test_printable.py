import pytest

from sidecar.store.printable import clean, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é ☃", "plain é ☃"),
        ("a\nb\tc", "a\\x0ab\\x09c"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("abc\u202egpj", "abc\\u202egpj"),
        ("\x85\u2028", "\\x85\\u2028"),
    ],
)
def test_a_terminal_shows_what_it_would_otherwise_obey(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_cleaning_touches_only_what_no_encoder_takes() -> None:
    assert clean("a\nb\x1b é \udcfe") == "a\nb\x1b é \\xfe"
    clean("\ud800\udcff").encode("utf-8")
