"""Where pages go: Apprise URLs, one destination each."""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.notify.errors import DeliveryError, NotifyUrlError
from sidecar.store.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apprise import Apprise

    from sidecar.notify.text import PageText

SEND_SECONDS: Final = 30.0
"""Longest one delivery may take; Apprise's own limits for a connection are shorter."""

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]{1,19})://", re.IGNORECASE)
_PIECES: Final = re.compile(r"[/:@?&=#,;\s]+")
_SECRET_LENGTH: Final = 4
"""Pieces of a URL as short as "v1" are no secrets, and would turn up in any sentence."""


class Destination(Protocol):
    """Someone who can be told."""

    @property
    def key(self) -> str:
        """Names it in the store, the same after a restart, without its secrets."""

    @property
    def label(self) -> str:
        """Names it for people, without its secrets."""

    def send(self, text: PageText) -> None:
        """Deliver; blocks until the destination has taken it.

        Raises:
            DeliveryError: It did not.
        """


class AppriseDestination:
    """One Apprise URL."""

    def __init__(self, url: str, number: int) -> None:
        """Check the URL, the ``number``-th of the configuration. The first takes a second: Apprise loads its services.

        Raises:
            NotifyUrlError: Apprise does not accept it.
        """
        self.key = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self.label = _label(url, number)
        self._secrets = _secrets(url)
        self._apprise = _load(url, self.label)

    def __repr__(self) -> str:
        return f"AppriseDestination({self.label})"

    def send(self, text: PageText) -> None:
        """Deliver, see `Destination.send`."""
        from apprise import NotifyFormat, NotifyType  # noqa: PLC0415 - see _load

        kind = NotifyType.FAILURE if text.critical else NotifyType.WARNING
        try:
            result = self._apprise.notify(
                title=text.title,
                body=text.body,
                notify_type=kind,
                body_format=NotifyFormat.TEXT,
                interpret_escapes=False,
                timeout=SEND_SECONDS,
            )
        except Exception as error:  # noqa: BLE001 - Apprise's services raise what they like, and the page outlives that
            raise DeliveryError(f"{self.label}: {self._scrubbed(repr(error))}") from None
        if not result:
            said = "; ".join(entry.message for entry in result.logs()) or f"status {result.status.name.lower()}"
            raise DeliveryError(f"{self.label}: {self._scrubbed(said)}")

    def _scrubbed(self, text: str) -> str:
        """What a service says about a failure may quote its URL."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return one_line(text[:500])


def destinations_of(urls: Sequence[str]) -> tuple[AppriseDestination, ...]:
    """Check every URL of the configuration; the same URL given twice is one destination.

    Raises:
        NotifyUrlError: One of them is not accepted.
    """
    return tuple(AppriseDestination(url, number) for number, url in enumerate(dict.fromkeys(urls), start=1))


def _load(url: str, label: str) -> Apprise:
    # Apprise quotes URLs, secrets and all, in what it logs. Its words on a failure come with the result.
    logger = logging.getLogger("apprise")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logging.getLogger("urllib3").setLevel(logging.INFO)  # at DEBUG it logs the path of every request
    with warnings.catch_warnings():
        # One of Apprise's services imports a module that Python has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Apprise takes a third of a second to import, its services another: only those who use it pay.
        from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - likewise

        apprise = Apprise(asset=AppriseAsset(app_id="openclaw-sidecar", app_desc="openclaw-sidecar"))
        if not apprise.add(url):
            raise NotifyUrlError(label)
    return apprise


def _label(url: str, number: int) -> str:
    scheme = _SCHEME.match(url)
    return f"{number} ({scheme[1].lower()})" if scheme else f"{number}"


def _secrets(url: str) -> tuple[str, ...]:
    """Whatever a URL consists of behind its scheme, longest first."""
    scheme = _SCHEME.match(url)
    rest = url[scheme.end() :] if scheme else url
    pieces = {piece for piece in _PIECES.split(rest) if len(piece) >= _SECRET_LENGTH}
    return tuple(sorted(pieces, key=len, reverse=True))
