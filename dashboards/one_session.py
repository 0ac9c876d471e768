"""What happened to this session?"""

from typing import Final

from dashboards.content import BAD, WARN, Board, Chart, Query, Row, Spans, Timeline, increase, now, quantile

_FENCE: Final = "{ name = `session.fence` && span.openclaw.session.hash =~ `$session` }"
_COLUMNS: Final = (
    "span.openclaw.run.kind, span.openclaw.verdict, span.openclaw.evidence, span.openclaw.recovery.outcome,"
    " span.openclaw.turn.lost, span.openclaw.incident.id"
)
_NONE: Final = "none: choose a longer time, or check the session's hash"

_STORY = Row(
    "Timeline",
    (
        Timeline(
            title="The turn",
            about="One trace: the run, its waits for the lock, the window, the model call, the verdict, the recovery."
            " Changes by other writers are events on session.fence. Type a trace id above (`openclaw-sidecar explain`"
            " names it), or click on a line of a table below.",
            queries=(Query("$trace"),),
            traces="{ trace:id = `$trace` }",
            empty="no trace is chosen: click on a line below, or type a trace id above",
        ),
    ),
)

_SPANS = Row(
    "This session",
    (
        Spans(
            title="Windows",
            about="Every window of the session in the time shown, with the verdict on what it met and what came of it.",
            queries=(Query(f"{_FENCE} | select({_COLUMNS})"),),
            traces=_FENCE,
            empty=_NONE,
        ),
        Spans(
            title="Verdicts",
            about="From the gateway's question to the sidecar's answer, below the windows of the session.",
            queries=(
                Query(
                    f"{_FENCE} > {{ name = `session.verdict` }} | select(span.openclaw.verdict, span.openclaw.evidence,"
                    " span.openclaw.verdict.answer)"
                ),
            ),
            traces=f"{_FENCE} > {{ name = `session.verdict` }}",
            empty="none: no window of this session met a change",
            width=12,
        ),
        Spans(
            title="Recoveries",
            about="Moves of the fence, below the windows of the session. pushed: ahead of the gateway's question.",
            queries=(
                Query(
                    f"{_FENCE} > {{ name = `session.recovery` }} | select(span.openclaw.recovery.applied,"
                    " span.openclaw.recovery.pushed, span.openclaw.recovery.records)"
                ),
            ),
            traces=f"{_FENCE} > {{ name = `session.recovery` }}",
            empty="none: no window of this session needed one",
            width=12,
        ),
        Spans(
            title="Model calls",
            about="The calls of the session, with model, tokens where the gateway tells them, and class of error.",
            queries=(
                Query(
                    "{ span.gen_ai.operation.name = `chat` && span.gen_ai.conversation.id =~ `$session` } |"
                    " select(span.gen_ai.provider.name, span.gen_ai.request.model, span.gen_ai.usage.input_tokens,"
                    " span.gen_ai.usage.output_tokens, span.error.type)"
                ),
            ),
            traces="{ span.gen_ai.operation.name = `chat` && span.gen_ai.conversation.id =~ `$session` }",
            empty=_NONE,
            width=12,
        ),
        Spans(
            title="Locks of this trace",
            about="Who waited for the session lock and who held it, in the trace that is chosen above.",
            queries=(
                Query(
                    "{ trace:id = `$trace` && name = `session.lock` } | select(span.openclaw.writer.kind,"
                    " span.openclaw.writer.name, span.openclaw.lock.wait_seconds, span.openclaw.lock.hold_seconds,"
                    " span.openclaw.lock.previous.writer.kind)"
                ),
            ),
            traces="{ trace:id = `$trace` && name = `session.lock` }",
            empty="no trace is chosen, or it has no lock",
            width=12,
        ),
    ),
)

_MEANWHILE = Row(
    "Meanwhile on this gateway",
    (
        Chart(
            title="Incidents by verdict",
            about="All sessions of the gateway: is it this one, or all of them? At each moment those of the last 5"
            " minutes.",
            queries=(now("instance_verdict:openclaw_sidecar_incidents:increase5m", "verdict"),),
            counted=True,
            traces="{ name = `session.verdict` }",
        ),
        Chart(
            title="Model latency",
            about="95 % of all model calls of the gateway, by provider.",
            queries=(
                quantile(0.95, "gen_ai_client_operation_duration_seconds", "gen_ai_provider_name", exemplars=True),
            ),
            unit="s",
            limits=((60, WARN), (300, BAD)),
            empty="no model was called in this time",
            traces="{ span.gen_ai.operation.name = `chat` }",
        ),
        Chart(
            title="Custody lost",
            about="Reports or file events that were lost: what the sidecar did not see then is unattributed.",
            queries=(increase("openclaw_sidecar_custody_losses_total", "reason"),),
            counted=True,
            traces="{ name = `session.fence` && span.openclaw.verdict = `unattributed` }",
        ),
    ),
)

ONE_SESSION: Final = Board(
    uid="openclaw-one-session",
    title="OpenClaw / One session",
    about="What happened to this session? Needs a trace data source (Tempo): without one, `openclaw-sidecar explain`"
    " tells the same story from the sidecar's own store.",
    rows=(_STORY, _SPANS, _MEANWHILE),
    texts=(
        ("session", "Session", "Hash of the session key, as incidents and spans have it; .+ for all", ".+"),
        ("trace", "Trace", "Trace id, 32 hexadecimal digits", ""),
    ),
)
