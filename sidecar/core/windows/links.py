"""Link opened and link lost: updates the registry, ends windows, gives up calls under way."""

from sidecar.core.decisions import Decision, SaveIncident
from sidecar.core.events import LinkLost, LinkOpened
from sidecar.core.facts.gateway import Role
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.outcomes import Ending
from sidecar.core.windows.registry import Registry


def link_opened(registry: Registry, event: LinkOpened) -> None:
    """A process speaks for itself from now on, or has told more of itself."""
    gateway = event.gateway
    registry.gateways[gateway.link] = gateway
    registry.locks.linked(gateway)
    for window in registry.on_link(gateway.link):
        window.gateway = gateway


def link_lost(registry: Registry, event: LinkLost) -> list[Decision]:
    """Its windows are over. What its calls under way have done will never be known.

    A co-tenant outside of OpenClaw says of each write beforehand that it comes: what it had not said is not its own.
    """
    gateway = registry.gateways.pop(event.link, None)
    if gateway is not None:
        registry.kernel_log.ended(gateway.visible_pid, gateway.started_at_ns)
    ending = Ending.GATEWAY_ENDED if event.clean else Ending.LINK_LOST
    for ended in registry.locks.lost(event.link, ending, event.at_ns):
        registry.outcomes.add(ended)
    decisions: list[Decision] = []
    for window in registry.on_link(event.link):
        window.note(event.at_ns, "link lost", "the gateway ended" if event.clean else "without a goodbye")
        window.left()
        incident = window.end(event.at_ns, unproven=bool(window.records))
        if incident is not None:
            decisions.append(SaveIncident(incident=incident))
        registry.outcomes.ended(window, ending, event.at_ns, final=not window.records)
        decisions += registry.end(window, unproven=bool(window.records))
    registry.accounts.abandon(event.link, event.at_ns)
    for window in registry.windows.values():
        window.abandon(event.link)
    announced = gateway is not None and gateway.role is Role.COTENANT
    if not event.clean and not announced:
        registry.lose_custody(Loss.LINK_LOST, Reason(ReasonCode.LINK_LOST), event.at_ns)
    return decisions
