"""The text of generated JSON files."""

import json

from hypothesis import given
from hypothesis import strategies as st

from sidecar.json_layout import WIDTH, layout

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=40,
)


@given(_VALUES)
def test_the_text_means_the_value(value: object) -> None:
    assert json.loads(layout(value)) == value


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 99), max_size=3), max_size=40))
def test_no_line_of_short_items_is_too_wide(value: object) -> None:
    assert all(len(line) <= WIDTH for line in layout(value).splitlines())


def test_what_fits_stays_on_a_line_and_what_does_not_has_a_line_for_each_item() -> None:
    wide = "x" * WIDTH
    assert layout({"b": [1, 2], "a": {}}) == '{"a": {}, "b": [1, 2]}\n'
    assert layout({"b": [1, 2], "a": wide}) == f'{{\n  "a": "{wide}",\n  "b": [1, 2]\n}}\n'
