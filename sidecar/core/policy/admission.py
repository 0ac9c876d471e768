"""Whether a program outside of OpenClaw may announce what it writes: by default none may.

Asked when it comes, before it is known which session it is about. What it then does to one session is asked of the same
rules in `sidecar.core.policy.rules.decide`.
"""

from collections.abc import Iterable

from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.writer import Writer
from sidecar.core.policy.rules import Match, Permission, Rule


def refusal(rules: Iterable[Rule], program: Writer) -> Reason | None:
    """Why it may announce nothing, in no session; None when a rule makes it a co-tenant in some."""
    nearly: list[Reason] = []
    for rule in rules:
        match = rule.matches_writer(program)
        if rule.may is Permission.NOTHING:
            if match is not Match.NO and rule.of_every_session:
                return Reason.of(ReasonCode.NOTHING_ALLOWED, rule=rule.name, writer=program.label())
        elif rule.names_someone and match is Match.YES:
            return None
        elif rule.names_someone and (not rule.kinds or program.kind in rule.kinds):
            lacks = rule.lacks(program)
            if "names" not in lacks:
                nearly.append(Reason.of(ReasonCode.RULE_ASKS_MORE, rule=rule.name, keys=lacks))
    return Reason.of(ReasonCode.NOT_DECLARED_BY_POLICY, *nearly[:1], writer=program.label())
