import io
import logging
import socket
from collections.abc import Iterator

import pytest

from sidecar.notify.destination import AppriseDestination, destinations_of
from sidecar.notify.errors import DeliveryError, NotifyUrlError
from sidecar.notify.text import PageText
from tests.notify.conftest import Receiver

TEXT = PageText("title", "first line\nsecond \\n <b>line</b>", critical=True)


@pytest.fixture
def root_log() -> Iterator[io.StringIO]:
    """What a program that logs everything would write. pytest's own fixture also reads loggers that are shut off."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(before)
    root.removeHandler(handler)


def test_a_page_arrives_as_it_was_written(receiver: Receiver) -> None:
    AppriseDestination(receiver.url(), 1).send(TEXT)
    path, body = receiver.next()
    assert path == "/hook 200"
    assert (body["title"], body["message"], body["type"]) == (TEXT.title, TEXT.body, "failure")


def test_what_is_not_critical_is_sent_as_a_warning(receiver: Receiver) -> None:
    AppriseDestination(receiver.url(), 1).send(PageText("title", "body", critical=False))
    assert receiver.next()[1]["type"] == "warning"


def test_a_refusal_is_an_error_with_its_reason(receiver: Receiver) -> None:
    receiver.answers = [503]
    with pytest.raises(DeliveryError, match=r"^1 \(json\): .*503"):
        AppriseDestination(receiver.url("topsecrettoken"), 1).send(TEXT)


def test_a_destination_that_is_down_is_an_error_without_secrets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DeliveryError) as caught:
        AppriseDestination(f"json://joe:hunter2@127.0.0.1:{port}/topsecrettoken", 3).send(TEXT)
    assert str(caught.value).startswith("3 (json): ")
    assert "topsecrettoken" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("nosuchservice://topsecret/token", "2 (nosuchservice)"),
        ("slack://topsecret", "2 (slack)"),
        ("topsecret", "2 "),
        ("", "2 "),
        ("tgram://topsecret/zz", "2 (tgram)"),
        ("://topsecret\n", "2 "),
    ],
)
def test_a_url_that_apprise_does_not_know_is_refused_without_showing_it(
    url: str, label: str, capfd: pytest.CaptureFixture[str], root_log: io.StringIO
) -> None:
    with pytest.raises(NotifyUrlError) as caught:
        destinations_of(["json://127.0.0.1/", url])
    said = str(caught.value)
    assert f"URL {label}" in said
    assert "\n" not in said
    for text in (said, *capfd.readouterr(), root_log.getvalue()):
        assert "topsecret" not in text


def test_the_same_url_given_twice_is_told_once() -> None:
    assert len(destinations_of(["json://127.0.0.1/a", "json://127.0.0.1/b", "json://127.0.0.1/a"])) == 2


def test_the_key_is_stable_and_shows_nothing() -> None:
    [first] = destinations_of(["json://127.0.0.1/topsecret"])
    [again] = destinations_of(["json://127.0.0.1/topsecret"])
    assert first.key == again.key
    assert "topsecret" not in first.key + first.label + repr(first)
