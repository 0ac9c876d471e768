"""The fingerprint and its wire form."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.errors import FingerprintError, SidecarError
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.value import replace

SEEN = Fingerprint(exists=True, dev=65024, ino=9978495, size=1288, mtime_ns=1795334840358486384, ctime_ns=1795334840358)
UNSIGNED = st.integers(0, 2**64 - 1)
SIGNED = st.integers(-(2**63), 2**63 - 1)


def test_the_wire_form_has_five_numbers() -> None:
    assert SEEN.encode() == "65024:9978495:1288:1795334840358486384:1795334840358"


def test_an_absent_file_has_a_word_of_its_own() -> None:
    assert Fingerprint.absent().encode() == "absent"
    assert Fingerprint.parse("absent") == Fingerprint.absent()
    assert not Fingerprint.absent().exists


@given(
    st.builds(
        Fingerprint,
        exists=st.just(value=True),
        dev=UNSIGNED,
        ino=UNSIGNED,
        size=UNSIGNED,
        mtime_ns=SIGNED,
        ctime_ns=SIGNED,
    )
)
@settings(derandomize=True)
def test_the_wire_form_leads_back(fingerprint: Fingerprint) -> None:
    """Beyond 2**53, and for files dated before 1970 as well."""
    assert Fingerprint.parse(fingerprint.encode()) == fingerprint


@pytest.mark.parametrize("field", ["dev", "ino", "size", "mtime_ns", "ctime_ns"])
def test_a_difference_in_any_number_is_a_difference(field: str) -> None:
    other = replace(SEEN, **{field: getattr(SEEN, field) + 1})

    assert other != SEEN
    assert other.encode() != SEEN.encode()


def test_an_empty_file_is_not_an_absent_one() -> None:
    assert Fingerprint(exists=True) != Fingerprint.absent()
    assert Fingerprint.parse(Fingerprint(exists=True).encode()).exists


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Absent",
        "absent ",
        "absent\n",
        "1:2:3:4",
        "1:2:3:4:5:6",
        "1:2:3:4:",
        "1:2:3:4:5\n",
        " 1:2:3:4:5",
        "1:2:3:4:5.0",
        "1:2:3:4:+5",
        "-1:2:3:4:5",
        "1:2:-3:4:5",
        "1:2:3:4:0x5",
        "1:2:3:4:1_000",
        "1:2:3:4:\u0665",
        "1:2:3:4:" + "9" * 5000,
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(FingerprintError) as caught:
        Fingerprint.parse(text)

    assert isinstance(caught.value, SidecarError)
    assert len(str(caught.value)) < 200


def test_the_error_names_the_text_and_what_was_expected() -> None:
    with pytest.raises(FingerprintError, match=r"'yesterday'.*dev:ino:size:mtime_ns:ctime_ns"):
        Fingerprint.parse("yesterday")
