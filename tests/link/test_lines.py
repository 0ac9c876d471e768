"""Cutting what arrives into lines."""

import pytest

from sidecar.link.lines import LineReader


def cut(limit_bytes: int, *pieces: bytes) -> tuple[list[bytes], bool]:
    """All lines of these pieces, and whether one was too long."""
    reader = LineReader(limit_bytes)
    return [line for piece in pieces for line in reader.cut(piece)], reader.too_long


@pytest.mark.parametrize("size", range(1, 12))
def test_lines_are_the_same_however_they_arrive(size: int) -> None:
    text = b"one\n\ntwo\nthree\nfour"
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert cut(100, *pieces) == ([b"one", b"", b"two", b"three"], False)


def test_a_line_may_be_as_long_as_the_limit_with_its_newline() -> None:
    assert cut(4, b"abc\nabc\n") == ([b"abc", b"abc"], False)


def test_a_line_that_is_too_long_ends_it_and_what_came_before_is_kept() -> None:
    assert cut(4, b"a\nabcd\nb\n") == ([b"a"], True)


def test_a_line_that_does_not_end_is_too_long_before_its_end() -> None:
    assert cut(4, b"a\nab", b"cd") == ([b"a"], True)
