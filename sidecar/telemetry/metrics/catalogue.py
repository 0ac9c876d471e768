"""Every metric there is, as the families declare them."""

from typing import Final

from sidecar.telemetry.metrics import (
    counting,
    custody,
    databases,
    export,
    gateways,
    gauges,
    link,
    locks,
    meters,
    recoveries,
    service,
    stalls,
    windows,
)
from sidecar.telemetry.metrics.instrument import Instrument

_ALL: Final = (
    *(locks, databases, windows, recoveries, gateways, stalls, link),
    *(custody, service, gauges, meters, export, counting),
)

INSTRUMENTS: Final = tuple(found for family in _ALL for found in vars(family).values() if isinstance(found, Instrument))
