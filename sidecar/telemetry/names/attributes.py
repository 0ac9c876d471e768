"""Attributes of the core's values. Only ids, kinds, numbers and paths become attributes (rule 7)."""

import hashlib
import re
from typing import Final

from sidecar.core.facts.gateway import Gateway, Run
from sidecar.core.facts.writer import Writer
from sidecar.core.outcomes import Ending
from sidecar.core.verdict.incident import Incident
from sidecar.telemetry.names.names import Attribute
from sidecar.telemetry.names.traceref import AttributeValue

Attributes = dict[Attribute, "AttributeValue"]

_TOKEN: Final = re.compile(r"[\w.:@/+#=~-]{1,200}", re.ASCII)
_OTHER_ERROR: Final = "_OTHER"


_SENTENCES: Final = {
    Ending.ENDED: "",
    Ending.TAKEOVER: "the gateway's own fence stopped the turn",
    Ending.LOST: "the turn was lost, and it was no fence that stopped it",
    Ending.LINK_LOST: "the link to the gateway was lost without a goodbye",
    Ending.GATEWAY_ENDED: "the gateway ended",
    Ending.SIDECAR_STOPPED: "the sidecar stopped",
}


def sentence(ending: Ending) -> str:
    """The status description of a span; empty for one that ended by itself."""
    return _SENTENCES[ending]


def token(text: str) -> str:
    """An id as it is. Anything that could be a sentence becomes a digest: still one value for one text."""
    if not text or _TOKEN.fullmatch(text):
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def error_type(text: str) -> str:
    """A value for ``error.type``; the conventions' ``_OTHER`` when the gateway's is none."""
    return text if text and _TOKEN.fullmatch(text) else _OTHER_ERROR


def of_gateway(gateway: Gateway | None) -> Attributes:
    """Which process, and that it is not verified, where it is not."""
    if gateway is None:
        return {}
    named = present(
        {
            Attribute.GATEWAY_PID: gateway.pid,
            Attribute.GATEWAY_VERSION: token(gateway.version),
            Attribute.GATEWAY_ADAPTER: gateway.adapter.value,
        }
    )
    return named if gateway.believed else {**named, Attribute.GATEWAY_VERIFIED: False}


def of_run(run: Run) -> Attributes:
    """Whose window."""
    return present(
        {
            Attribute.RUN_ID: token(run.run_id),
            Attribute.RUN_KIND: token(run.kind),
            Attribute.RUN_NAME: token(run.name),
            Attribute.SESSION: token(run.session),
        }
    )


def of_writer(writer: Writer, run_id: str = "") -> Attributes:
    """Who wrote, and whether it is the run of that id itself."""
    return {
        **present(
            {
                Attribute.WRITER_KIND: writer.kind.value,
                Attribute.WRITER_NAME: token(writer.name),
                Attribute.WRITER_PID: writer.pid,
                Attribute.WRITER_RUN: token(writer.run_id),
            }
        ),
        **({Attribute.WRITER_OWN: writer.run_id == run_id} if run_id else {}),
    }


def of_incident(incident: Incident | None) -> Attributes:
    """What a window met. Of its reasons only the codes: sentences and parameters stay in the store, under the id."""
    if incident is None:
        return {}
    recovery = incident.recovery
    return {
        Attribute.INCIDENT_ID: incident.incident_id,
        Attribute.VERDICT: incident.verdict.value,
        Attribute.VERDICT_REASON: incident.reason.code.value,
        Attribute.EVIDENCE: incident.grade.value,
        Attribute.UNEXPLAINED: sum(r.length for r in incident.unexplained),
        Attribute.TURN_LOST: incident.turn_lost,
        **({Attribute.LOSS_CAUSE: incident.lost.cause.value} if incident.lost else {}),
        Attribute.RECOVERY_OUTCOME: recovery.outcome.value,
        **({Attribute.RECOVERY_REASON: recovery.reason.code.value} if recovery.reason else {}),
        Attribute.RECOVERY_MODE: recovery.mode.value,
        Attribute.RECOVERY_COUNT: recovery.count,
    }


def present(attributes: Attributes) -> Attributes:
    """Without what is not known."""
    return {key: value for key, value in attributes.items() if value not in {"", 0}}
