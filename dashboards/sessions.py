"""Is any turn being lost?"""

from typing import Final

from dashboards.content import BAD, GOOD, WARN, Board, Chart, Number, Query, Row, increase, now, per_second, quantile

_AGENT: Final = 'agent=~"$agent"'
_RANGE: Final = "$__range"
_LOST: Final = "{ name = `session.fence` && span.openclaw.turn.lost = true }"
_EXTERNAL: Final = "{ name = `session.fence` && span.openclaw.verdict = `external` }"
_RECOVERED: Final = "{ name = `session.recovery` && span.openclaw.recovery.applied = true }"
_CHAT: Final = "{ span.gen_ai.operation.name = `chat` }"
_LOCK: Final = "{ name = `session.lock` }"

_LOST_COUNT: Final = increase("openclaw_sidecar_turns_lost_total", over=_RANGE).text
_ENDED_COUNT: Final = increase("openclaw_sidecar_windows_closed_total", where='outcome="ended"', over=_RANGE).text

_QUESTION = Row(
    "Is any turn being lost?",
    (
        Number(
            title="Turns lost",
            about="Turns that a gateway's own fence stopped in the time shown, for whatever reason. Each is a user or"
            " a job without an answer. Should be 0; beside takeovers none is needed.",
            queries=(increase("openclaw_sidecar_turns_lost_total", over=_RANGE),),
            limits=((1, BAD),),
            traces=_LOST,
        ),
        Number(
            title="Takeovers",
            about="Changes of sessions that are proven to come from outside the gateway (verdict external) in the"
            " time shown. Each paged on-call. Should be 0.",
            queries=(increase("openclaw_sidecar_incidents_total", where='verdict="external"', over=_RANGE),),
            limits=((1, BAD),),
            traces=_EXTERNAL,
        ),
        Number(
            title="Turns recovered",
            about="Windows in which a co-tenant wrote and the run went on, in the time shown. Without the sidecar"
            " each of them would have been a lost turn.",
            queries=(increase("openclaw_sidecar_recoveries_total", where='outcome="effective"', over=_RANGE),),
            traces=_RECOVERED,
        ),
        Number(
            title="Recoveries without effect",
            about="The fence was moved and the turn was lost all the same, or a record is off the history, in the"
            " time shown. Must be 0.",
            queries=(increase("openclaw_sidecar_recoveries_total", where='outcome="ineffective"', over=_RANGE),),
            limits=((1, BAD),),
            traces="{ name = `session.fence` && span.openclaw.recovery.outcome = `ineffective` }",
        ),
        Number(
            title="Turns that went on",
            about="Share of the windows that ended in order, of those and the turns that were lost, in the time shown.",
            queries=(Query(f"1 - {_LOST_COUNT} / ({_LOST_COUNT} + ({_ENDED_COUNT} or vector(0)))"),),
            unit="percentunit",
            limits=((0, BAD), (0.95, WARN), (0.999, GOOD)),
            empty="no turn ended in this time",
        ),
        Number(
            title="Sessions that do not go on",
            about="Sessions that the gateway calls stalled or stuck now. Their users wait.",
            queries=(now("instance_state:openclaw_sidecar_sessions_stalled:sum", where='state=~"stalled|stuck"'),),
            limits=((1, WARN), (3, BAD)),
            traces="{ name = `session.fence` && duration > 5m }",
        ),
    ),
)

_INCIDENTS = Row(
    "Takeovers and recoveries",
    (
        Chart(
            title="Incidents by verdict",
            about="Windows that met a change, at each moment those of the last 5 minutes. co_tenant, own and"
            " unchanged are daily life; external is a takeover; unattributed could not be told. The alerts use the"
            " same numbers.",
            queries=(now("instance_verdict:openclaw_sidecar_incidents:increase5m", "verdict"),),
            counted=True,
            traces="{ name = `session.verdict` }",
        ),
        Chart(
            title="Lost turns by verdict",
            about="Turns that the gateway stopped, by the verdict on the change, at each moment those of the last 5"
            " minutes. In recover mode only external, unattributed and reset may be there.",
            queries=(now("instance_verdict:openclaw_sidecar_turns_lost:increase5m", "verdict"),),
            counted=True,
            traces=_LOST,
        ),
        Chart(
            title="Recoveries by outcome",
            about="How far recoveries came, at each moment those of the last 5 minutes: one that was effective is"
            " counted under approved, applied and effective. not_attempted: observe mode, or a policy against it.",
            queries=(now("instance_outcome:openclaw_sidecar_recoveries:increase5m", "outcome"),),
            counted=True,
            traces="{ name = `session.recovery` }",
        ),
        Chart(
            title="Takeovers that a gateway reported",
            about="What the gateway itself calls a takeover, once for each run and file, co-tenants included: by the"
            " trip of its fence, or by its log alone (a fence that the preload does not know).",
            queries=(increase("openclaw_sidecar_gateway_takeovers_total", "source"),),
            counted=True,
            traces=_LOST,
        ),
        Chart(
            title="How long users waited for a lost turn",
            about="Time from the start of a turn to the moment in which the gateway gave it up, by its log: median"
            " and 90 %. Empty while no turn is lost.",
            queries=(
                quantile(0.5, "openclaw_sidecar_turn_lost_wait_seconds", legend="median", exemplars=True),
                quantile(0.9, "openclaw_sidecar_turn_lost_wait_seconds", legend="90 %"),
            ),
            unit="s",
            limits=((60, WARN), (600, BAD)),
            empty="no turn was lost in this time: nothing is wrong",
            traces=_LOST,
        ),
        Chart(
            title="Lost turns by cause",
            about="Where sessions are in a database: the first error of each run that lost its turn. conflict is the"
            " gateway's fence; busy, storage and projection are the database; rebound, superseded, admission and reset"
            " are who has the session. docs/lost-turns.md has them all.",
            queries=(increase("openclaw_sidecar_turn_losses_total", "cause"),),
            counted=True,
            empty="no turn was lost to a database or a claim in this time",
            traces=_LOST,
        ),
        Chart(
            title="Lines of the gateway's log about it",
            about="lane_task_error: a turn was given up. candidate_failed: the next model was tried. recovery_none:"
            " the gateway's own diagnostics had no way out.",
            queries=(increase("openclaw_sidecar_gateway_log_events_total", "event"),),
            counted=True,
            traces=_LOST,
        ),
    ),
)

_WRITERS = Row(
    "Who writes?",
    (
        Chart(
            title="Changes inside windows",
            about="Who changed a session while a turn of it waited for its model, and the verdict on that. foreign:"
            " no writer of the gateway. Empty while no turn meets another writer.",
            queries=(
                increase(
                    "openclaw_sidecar_changes_judged_total",
                    "writer_kind, verdict",
                    _AGENT,
                    legend="{{writer_kind}} ({{verdict}})",
                ),
            ),
            counted=True,
            empty="no turn met another writer in this time: nothing is wrong",
            traces="{ name = `session.fence` && span.openclaw.verdict != `` }",
        ),
        Chart(
            title="Bytes by writer",
            about="What writers inside the gateway report as written to session files, windows or not.",
            queries=(per_second("openclaw_sidecar_written_bytes_total", "writer_kind", _AGENT),),
            unit="Bps",
            empty="nothing was written in this time",
        ),
        Chart(
            title="Changes by operation",
            about="append is daily life. rewrite and truncate are compaction and maintenance; remove is a reset.",
            queries=(increase("openclaw_sidecar_changes_total", "operation"),),
            counted=True,
            empty="nothing was written in this time",
        ),
    ),
)

_MODEL = Row(
    "Windows and the model",
    (
        Chart(
            title="Length of windows",
            about="Time from the fence to the end of its window, about that of the model call: the longer, the more"
            " likely that somebody else writes meanwhile.",
            queries=(
                quantile(0.5, "openclaw_sidecar_window_length_seconds", legend="median", exemplars=True),
                quantile(0.95, "openclaw_sidecar_window_length_seconds", legend="95 %"),
            ),
            unit="s",
            limits=((60, WARN), (300, BAD)),
            empty="no window ended in this time",
        ),
        Chart(
            title="Windows by kind of run",
            about="Whose turns they are: user_turn, heartbeat, cron, channel, ...",
            queries=(
                increase(
                    "openclaw_sidecar_windows_closed_total",
                    "run_kind, outcome",
                    _AGENT,
                    legend="{{run_kind}} ({{outcome}})",
                ),
            ),
            counted=True,
            empty="no window ended in this time",
        ),
        Chart(
            title="Windows open",
            about="Fences that are set now: turns that wait for their model.",
            queries=(now("openclaw_sidecar_windows_open", "instance"),),
        ),
        Chart(
            title="Model latency",
            about="Duration of model calls by provider, failed ones included: 95 %.",
            queries=(
                quantile(0.95, "gen_ai_client_operation_duration_seconds", "gen_ai_provider_name", exemplars=True),
            ),
            unit="s",
            limits=((60, WARN), (300, BAD)),
            empty="no model was called in this time",
            traces=_CHAT,
        ),
        Chart(
            title="Model calls",
            about="How they ended. abandoned: the gateway was gone before the model answered.",
            queries=(increase("openclaw_sidecar_model_calls_total", "outcome"),),
            counted=True,
            traces="{ span.gen_ai.operation.name = `chat` && status = error }",
        ),
        Chart(
            title="Sessions that do not go on",
            about="What the gateway calls them: long_running is a turn that takes long, stalled and stuck have"
            " stopped.",
            queries=(now("instance_state:openclaw_sidecar_sessions_stalled:sum", "state"),),
            limits=((1, WARN),),
            traces="{ name = `session.fence` && duration > 5m }",
        ),
    ),
)

_LOCKS = Row(
    "The session lock",
    (
        Chart(
            title="Waiting for the lock",
            about="95 % of the waits are shorter, by writer. At 60 s a gateway gives up.",
            queries=(quantile(0.95, "openclaw_sidecar_lock_wait_seconds", "writer_kind", exemplars=True),),
            unit="s",
            limits=((1, WARN), (60, BAD)),
            empty="nobody took the lock in this time",
            traces=_LOCK,
        ),
        Chart(
            title="Holding the lock",
            about="95 % of the holds are shorter, by writer. 5 minutes are the longest that a gateway means to hold"
            " one.",
            queries=(quantile(0.95, "openclaw_sidecar_lock_hold_seconds", "writer_kind", exemplars=True),),
            unit="s",
            limits=((10, WARN), (300, BAD)),
            empty="nobody gave the lock back in this time",
            traces=_LOCK,
        ),
        Chart(
            title="Oldest lock held now",
            about="By the lock files, whoever made them. From 5 minutes on there is an alert.",
            queries=(now("instance:openclaw_sidecar_lock_held_age_seconds:max", "instance", how="max"),),
            unit="s",
            limits=((60, WARN), (300, BAD)),
            traces=_LOCK,
        ),
        Chart(
            title="Locks not had",
            about="Writers that went without the lock, by reason. Should be none.",
            queries=(increase("openclaw_sidecar_lock_failures_total", "reason"),),
            counted=True,
            traces="{ name = `session.lock` && status = error }",
        ),
        Chart(
            title="Locks that nobody will give back",
            about="Stale lock files by the rules of the gateway's own check, each once. The next writer takes them"
            " away.",
            queries=(increase("openclaw_sidecar_lock_stale_total", "reason"),),
            counted=True,
            traces=_LOCK,
        ),
        Chart(
            title="Locks held now",
            about="By the lock files, whoever made them: writers at work. They come and go within milliseconds.",
            queries=(now("openclaw_sidecar_locks_held", "instance"),),
            traces=_LOCK,
        ),
    ),
)

SESSIONS: Final = Board(
    uid="openclaw-sessions",
    title="OpenClaw / Sessions",
    about="Is any turn being lost, to whom, and what is done about it?",
    rows=(_QUESTION, _INCIDENTS, _WRITERS, _MODEL, _LOCKS),
    agents=True,
)
