"""Providers of the SDK, with OTLP exporters only where the standard variables name a backend.

No provider is made global, so that two of them can live in one process (tests do). With no backend there is no span
processor: nothing is built and nothing is queued.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from os import environ
from time import monotonic
from typing import Any, Final

from opentelemetry._logs import Logger
from opentelemetry.metrics import Meter, NoOpMeterProvider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import Tracer

from sidecar import __version__
from sidecar.core.errors import SidecarError
from sidecar.telemetry.metrics.catalogue import INSTRUMENTS
from sidecar.telemetry.metrics.meters import views
from sidecar.telemetry.names import names
from sidecar.telemetry.names.labels import Signal
from sidecar.telemetry.otlp.delivery import Deliveries, QueuedLogProcessor, QueuedSpanProcessor, counted
from sidecar.telemetry.traces.span import PinnedIds

QUEUE_SIZE: Final = 2_048
"""Spans or log records that wait for a backend, unless OTEL_BSP_MAX_QUEUE_SIZE or OTEL_BLRP_MAX_QUEUE_SIZE says so."""

_LAST_MOMENT_SECONDS: Final = 0.2
"""What a thread gets to end once its exporter has been told to stop."""


_EXPORTERS: Final = {
    Signal.TRACES: ("trace_exporter", "OTLPSpanExporter"),
    Signal.METRICS: ("metric_exporter", "OTLPMetricExporter"),
    Signal.LOGS: ("_log_exporter", "OTLPLogExporter"),
}
"""Module and class of each signal's exporter, the same for both protocols."""


class ExportConfigurationError(SidecarError, ValueError):
    """The variables of OpenTelemetry name something that this build can't do."""


class OtlpProtocol(StrEnum):
    """Ways to speak OTLP."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """What telemetry is written to.

    Attributes:
        tracer_provider: None when no one wants spans.
        meter_provider: Always there, also when no one wants metrics.
        resource: What is told of this sidecar with all of it.
        ids: Draws the ids of spans.
        deliveries: Counts what came of the exports.
        logger_provider: None when no one wants log records.
        exporters: Those that reach for the network.
    """

    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider
    resource: Resource
    ids: PinnedIds
    deliveries: Deliveries
    logger_provider: LoggerProvider | None = None
    exporters: Sequence[SpanExporter | MetricExporter | LogRecordExporter] = field(default_factory=tuple)

    @property
    def meter(self) -> Meter:
        """The meter of the sidecar."""
        return self.meter_provider.get_meter(names.SCOPE, __version__)

    @property
    def tracer(self) -> Tracer | None:
        """The tracer of the sidecar."""
        return self.tracer_provider.get_tracer(names.SCOPE, __version__) if self.tracer_provider else None

    @property
    def logger(self) -> Logger | None:
        """The logger of the sidecar."""
        return self.logger_provider.get_logger(names.SCOPE, __version__) if self.logger_provider else None

    def shutdown(self, timeout_seconds: float) -> bool:
        """Send what is queued and stop.

        The SDK's own shutdown waits up to 30 s for a backend that is gone. Here it runs beside, in threads that do not
        keep the process alive; when the time is over the exporters are told to stop at once.

        Returns:
            True when all was handed over in time.
        """
        stops: list[Callable[[], None]] = [self.meter_provider.shutdown]
        if self.tracer_provider is not None:
            stops.append(self.tracer_provider.shutdown)
        if self.logger_provider is not None:
            stops.append(self.logger_provider.shutdown)
        threads = [threading.Thread(target=_quietly(stop), name="telemetry-stop", daemon=True) for stop in stops]
        for thread in threads:
            thread.start()
        deadline = monotonic() + timeout_seconds
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        if not any(thread.is_alive() for thread in threads):
            return True
        for exporter in self.exporters:
            threading.Thread(target=_quietly(exporter.shutdown), name="telemetry-stop", daemon=True).start()
        for thread in threads:
            thread.join(_LAST_MOMENT_SECONDS)
        return False


def open_pipeline(
    *, instance: str = "", span_processors: Sequence[SpanProcessor] = (), metric_readers: Sequence[MetricReader] = ()
) -> Pipeline:
    """Set the SDK up as the environment says.

    Args:
        instance: ``service.instance.id`` unless the environment names another.
        span_processors: Further takers of spans, such as a store or a test.
        metric_readers: Further takers of metrics.

    Raises:
        ExportConfigurationError: A variable names a protocol other than grpc or http/protobuf, or has a value that the
            exporter refuses.
    """
    deliveries = Deliveries()
    resource = _resource(instance)
    ids = PinnedIds()
    processors = list(span_processors)
    readers = list(metric_readers)
    logger_provider = None
    with _configured():
        exporters = {signal: counted(_exporter(signal), signal, deliveries) for signal in Signal if _wanted(signal)}
        if Signal.TRACES in exporters:
            size = _queue_size("OTEL_BSP_MAX_QUEUE_SIZE")
            processors.append(QueuedSpanProcessor(exporters[Signal.TRACES], deliveries, size))
        if Signal.METRICS in exporters:
            readers.append(PeriodicExportingMetricReader(exporters[Signal.METRICS]))
        if Signal.LOGS in exporters:
            size = _queue_size("OTEL_BLRP_MAX_QUEUE_SIZE")
            logger_provider = LoggerProvider(resource, shutdown_on_exit=False, meter_provider=NoOpMeterProvider())
            logger_provider.add_log_record_processor(QueuedLogProcessor(exporters[Signal.LOGS], deliveries, size))
    deliveries.wanted = frozenset(exporters)
    tracer_provider = None
    if processors:
        tracer_provider = TracerProvider(
            resource=resource, id_generator=ids, shutdown_on_exit=False, meter_provider=NoOpMeterProvider()
        )
        for processor in processors:
            tracer_provider.add_span_processor(processor)
    return Pipeline(
        tracer_provider=tracer_provider,
        logger_provider=logger_provider,
        meter_provider=MeterProvider(
            metric_readers=readers, resource=resource, shutdown_on_exit=False, views=views(INSTRUMENTS)
        ),
        resource=resource,
        ids=ids,
        deliveries=deliveries,
        exporters=list(exporters.values()),
    )


def _resource(instance: str) -> Resource:
    """What the environment says of this service goes over what is said here."""
    own = {
        "service.name": names.SERVICE,
        "service.version": __version__,
        "host.name": socket.gethostname(),
        **({"service.instance.id": instance} if instance else {}),
    }
    return Resource.create().merge(Resource(own)).merge(OTELResourceDetector().detect())


def _wanted(signal: Signal) -> bool:
    if environ.get(f"OTEL_{signal.name}_EXPORTER", "").strip().lower() == "none":
        return False
    return bool(environ.get(f"OTEL_EXPORTER_OTLP_{signal.name}_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


def _protocol(signal: Signal) -> OtlpProtocol:
    for variable in (f"OTEL_EXPORTER_OTLP_{signal.name}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        text = environ.get(variable, "").strip()
        if text:
            try:
                return OtlpProtocol(text)
            except ValueError:
                choices = " or ".join(OtlpProtocol)
                raise ExportConfigurationError(f"{variable} is {text!r}; it must be {choices}") from None
    return OtlpProtocol.GRPC


def _queue_size(variable: str) -> int:
    text = environ.get(variable, "").strip() or str(QUEUE_SIZE)
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise ExportConfigurationError(f"{variable} is {text!r}; it must be a whole number above 0")
    return int(text)


def _exporter(signal: Signal) -> Any:  # noqa: ANN401 - of the kind of the signal
    """Imported where a backend is named: with gRPC they take 13 MB."""
    way = "grpc" if _protocol(signal) is OtlpProtocol.GRPC else "http"
    module, name = _EXPORTERS[signal]
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{way}.{module}"), name)()


@contextmanager
def _configured() -> Iterator[None]:
    try:
        yield
    except SidecarError:
        raise
    except Exception as error:
        raise ExportConfigurationError(f"OTLP export can't be set up from OTEL_EXPORTER_OTLP_*: {error}") from error


def _quietly(stop: Callable[[], object]) -> Callable[[], None]:
    """The SDK raises from shutdown when a reader failed or ran out of time; there is no one left to tell."""

    def run() -> None:
        with suppress(Exception):
            stop()

    return run
