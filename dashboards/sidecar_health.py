"""Is the sidecar there, does it see everything, does it answer in time, does it tell?"""

from typing import Final

from dashboards.content import BAD, GOOD, WARN, Board, Chart, Number, Query, Row, increase, now, per_second, quantile

_BROKEN: Final = "{ name = `session.fence` && span.openclaw.verdict = `unattributed` }"
_VERDICT: Final = "{ name = `session.verdict` }"
_RECOVERY: Final = "{ name = `session.recovery` }"
_ANY: Final = "{ resource.service.name = `openclaw-sidecar` }"
_YES_NO: Final = (("0", "no", BAD), ("1", "yes", GOOD))

_THERE = Row(
    "Is it there?",
    (
        Number(
            width=3,
            title="Scraped",
            about="Prometheus reaches every sidecar of the chosen gateways. With a no, the other panels are old.",
            queries=(Query('min (up{job="openclaw-sidecar", instance=~"$gateway"})'),),
            words=_YES_NO,
            empty="no sidecar is scraped under the job openclaw-sidecar",
            traces=_ANY,
        ),
        Number(
            width=3,
            title="Ready",
            about="Socket, watch and store are in place, in every one.",
            queries=(now("openclaw_sidecar_ready", how="min"),),
            words=_YES_NO,
            empty="no sidecar is scraped",
            traces=_ANY,
        ),
        Number(
            width=3,
            title="Recovering",
            about="recover: commands are given. observe: verdicts and telemetry only, so turns are lost as without it.",
            queries=(now("openclaw_sidecar_mode", where='mode="recover"', how="min"),),
            words=(("0", "observe", WARN), ("1", "recover", GOOD)),
            empty="no sidecar is scraped",
            traces=_RECOVERY,
        ),
        Number(
            width=3,
            title="Paused",
            about="An operator has paused recovery; `openclaw-sidecar status` says until when, and why.",
            queries=(now("openclaw_sidecar_paused", how="max"),),
            words=(("0", "no", GOOD), ("1", "yes", WARN)),
            empty="no sidecar is scraped",
            traces=_RECOVERY,
        ),
        Number(
            width=3,
            title="Storm",
            about="So many sessions changed at once that recovery is stopped. On-call was paged.",
            queries=(now("openclaw_sidecar_storm", how="max"),),
            words=(("0", "no", GOOD), ("1", "yes", BAD)),
            empty="no sidecar is scraped",
            traces=_BROKEN,
        ),
        Number(
            width=3,
            title="Problems",
            about="What an operator should mend; `openclaw-sidecar status` names each with the remedy.",
            queries=(now("openclaw_sidecar_problems"),),
            limits=((1, WARN),),
            empty="no sidecar is scraped",
            traces=_ANY,
        ),
        Number(
            width=3,
            title="Processes without the preload",
            about="They work on sessions and have no link: none of their turns is recovered.",
            queries=(now("instance:openclaw_sidecar_gateways_without_preload:sum"),),
            limits=((1, WARN),),
            empty="no sidecar is scraped",
            traces=_BROKEN,
        ),
        Number(
            width=3,
            title="Preloads of another version",
            about="Linked processes whose preload is not of the sidecar's version: restart them after an update.",
            queries=(now("openclaw_sidecar_preload_mismatches"),),
            limits=((1, WARN),),
            empty="no sidecar is scraped",
            traces=_ANY,
        ),
        Chart(
            title="OpenClaw processes",
            about="By the adapter for their fence: swap and publish can be recovered, none needs no recovery, unknown"
            " is a release that the preload leaves alone.",
            queries=(now("openclaw_sidecar_gateways", "adapter, linked", legend="{{adapter}}, linked {{linked}}"),),
            traces=_ANY,
        ),
        Chart(
            title="Links",
            about="Links open now; a gateway has one, and one more for each worker thread that writes sessions.",
            queries=(now("openclaw_sidecar_links", "instance"),),
            traces=_ANY,
        ),
        Chart(
            title="Running for",
            about="Falls to 0 with each start. A window that was open then is unattributed.",
            queries=(
                Query(
                    'time() - max by (instance, version) (openclaw_sidecar_start_time_seconds{instance=~"$gateway"}'
                    " * on (job, instance) group_left (version) openclaw_sidecar_build_info)",
                    "{{instance}} ({{version}})",
                ),
            ),
            unit="s",
            empty="no sidecar is scraped",
            traces=_ANY,
        ),
    ),
)

_SEES = Row(
    "Does it see everything?",
    (
        Chart(
            title="Custody lost",
            about="Times that custody became unknown, at each moment those of the last 15 minutes, by reason."
            " link_lost comes with killed gateways; the others should not be. The"
            " alerts use it.",
            queries=(now("instance_reason:openclaw_sidecar_custody_losses:increase15m", "reason"),),
            counted=True,
            traces=_BROKEN,
        ),
        Chart(
            title="Without custody",
            about="Fenced files of which custody is unknown now.",
            queries=(now("openclaw_sidecar_custody_unknown_files", "instance"),),
            limits=((1, WARN),),
            traces=_BROKEN,
        ),
        Chart(
            title="Share of time without custody",
            about="Seconds in each second, added up over the fenced files. Near 0 on a healthy system: it begins anew"
            " with each window and ends when the file has been read.",
            queries=(per_second("openclaw_sidecar_custody_unknown_seconds_total", "instance"),),
            unit="short",
            limits=((0.5, WARN),),
            traces=_BROKEN,
        ),
        Chart(
            title="Lost on the way",
            about="Overflows of the kernel's queue, messages that preloads had to drop, gaps in the sequence of a"
            " link.",
            queries=(
                increase("openclaw_sidecar_watch_overflows_total", legend="overflows"),
                increase("openclaw_sidecar_reports_lost_total", legend="dropped by preloads"),
                increase("openclaw_sidecar_report_gaps_total", legend="gaps"),
            ),
            counted=True,
            traces=_BROKEN,
        ),
        Chart(
            title="Input not taken",
            about="By reason: malformed messages, foreign users, files with names that are none.",
            queries=(increase("openclaw_sidecar_input_rejected_total", "reason"),),
            counted=True,
            traces=_ANY,
        ),
        Chart(
            title="Messages from preloads",
            about="How much the gateways report.",
            queries=(per_second("openclaw_sidecar_reports_total", "instance"),),
            unit="cps",
            traces=_ANY,
        ),
        Chart(
            title="Watched",
            about="Session files known, and sessions directories watched.",
            queries=(
                now("openclaw_sidecar_watch_files", legend="files"),
                now("openclaw_sidecar_watch_directories", legend="directories"),
            ),
            traces=_ANY,
        ),
        Chart(
            title="Waiting to be read",
            about="Messages of gateways and file events that the sidecar has not read yet.",
            queries=(now("openclaw_sidecar_queue_bytes", "queue"),),
            unit="bytes",
            limits=((1_000_000, WARN),),
            traces=_ANY,
        ),
    ),
)

_ANSWERS = Row(
    "Does it answer in time?",
    (
        Chart(
            title="Question to answer",
            about="After 250 ms the gateway does as without a sidecar.",
            queries=(
                quantile(0.5, "openclaw_sidecar_verdict_latency_seconds", legend="median"),
                quantile(0.99, "openclaw_sidecar_verdict_latency_seconds", legend="99 %"),
            ),
            unit="s",
            limits=((0.1, WARN), (0.25, BAD)),
            empty="no gateway asked in this time: nothing is wrong",
            traces=_VERDICT,
        ),
        Chart(
            title="Question to moved fence",
            about="By the gateway's clock: 95 %. pushed: approved ahead of the question.",
            queries=(quantile(0.95, "openclaw_sidecar_recovery_latency_seconds", "way", exemplars=True),),
            unit="s",
            limits=((0.1, WARN), (0.25, BAD)),
            empty="no fence was moved in this time: nothing is wrong",
            traces=_RECOVERY,
        ),
        Chart(
            title="Commands",
            about="How preloads answered the command to move a fence. refused: something changed in between, and"
            " nothing was done.",
            queries=(
                increase("openclaw_sidecar_recovery_commands_total", "result, way", legend="{{result}} ({{way}})"),
            ),
            counted=True,
            traces=_RECOVERY,
        ),
        Chart(
            title="Recoveries held back",
            about="Incidents whose evidence allowed a recovery that something else held back, by what. Their turns"
            " are lost as agreed: observe mode, a pause, the policy, a budget, a storm.",
            queries=(increase("openclaw_sidecar_recovery_holds_total", "reason"),),
            counted=True,
            traces="{ name = `session.fence` && span.openclaw.verdict = `co_tenant` }",
        ),
        Chart(
            title="Policy file in force",
            about="1 when the policy file as it was read last is in force, 0 when it was refused: `openclaw-sidecar"
            " status` has the line and the reason. Also 1 without a file.",
            queries=(now("openclaw_sidecar_policy_reload_successful", "instance", how="min"),),
            empty="no sidecar is scraped",
            traces=_ANY,
        ),
        Chart(
            title="Budget left",
            about="Recoveries that the policy still allows: of the gateway, and of the session that has least left.",
            queries=(now("instance_scope:openclaw_sidecar_recovery_budget_remaining:min", "scope", how="min"),),
            empty="the policy sets no budget",
            traces=_RECOVERY,
        ),
    ),
)

_TELLS = Row(
    "Does it tell?",
    (
        Chart(
            title="Pages",
            about="Notifications by outcome, at each moment those of the last 15 minutes. failed is given up for good.",
            queries=(now("instance_outcome:openclaw_sidecar_pages:increase15m", "outcome"),),
            counted=True,
            traces="{ name = `session.fence` && span.openclaw.verdict = `external` }",
        ),
        Chart(
            title="Pages that wait",
            about="For a first or a further attempt. They wait for ever where no destination is configured.",
            queries=(now("openclaw_sidecar_pages_pending", "instance"),),
            limits=((1, WARN),),
            traces="{ name = `session.fence` && span.openclaw.verdict = `external` }",
        ),
        Chart(
            title="OTLP exports",
            about="What came of them, by signal. All 0 where no backend is configured.",
            queries=(
                increase("openclaw_sidecar_otlp_exports_total", "signal, outcome", legend="{{signal}} {{outcome}}"),
            ),
            counted=True,
            empty="no backend is configured",
            traces=_ANY,
        ),
        Chart(
            title="Spans and logs that no backend took",
            about="queue_full: the backend is gone or slow. They are lost for the backend; the store has the"
            " incidents.",
            queries=(
                increase("openclaw_sidecar_otlp_dropped_total", "signal, reason", legend="{{signal}}: {{reason}}"),
            ),
            counted=True,
            traces=_ANY,
        ),
        Chart(
            title="Spans made and given up",
            about="Given up: the table of open things was full. None is made where no backend is configured.",
            queries=(
                per_second("openclaw_sidecar_spans_total", "span"),
                per_second("openclaw_sidecar_spans_dropped_total", legend="given up"),
            ),
            unit="cps",
            traces=_ANY,
        ),
        Chart(
            title="Spans and log records that wait",
            about="Spans that wait to know their trace, and what waits for the backend.",
            queries=(now("openclaw_sidecar_queue_items", "queue"),),
            limits=((1_500, WARN),),
            traces=_ANY,
        ),
        Chart(
            title="Log lines",
            about="By level. Each warning has a counter of its own elsewhere.",
            queries=(increase("openclaw_sidecar_log_lines_total", "level", 'level!="debug"'),),
            counted=True,
            traces=_ANY,
        ),
        Chart(
            title="Errors inside telemetry",
            about="Measurements that the cap on series dropped, and errors that were kept from the service. Should be"
            " 0.",
            queries=(
                increase("openclaw_sidecar_series_dropped_total", legend="over the cap on series"),
                increase("openclaw_sidecar_telemetry_errors_total", legend="errors"),
            ),
            counted=True,
            traces=_ANY,
        ),
        Chart(
            title="Scrapes",
            about="How long Prometheus takes to scrape a sidecar. The scrape's limit is 5 s as shipped.",
            queries=(
                Query(
                    'max by (instance) (scrape_duration_seconds{job="openclaw-sidecar", instance=~"$gateway"})',
                    "{{instance}}",
                ),
            ),
            unit="s",
            limits=((1, WARN), (5, BAD)),
            empty="no sidecar is scraped under the job openclaw-sidecar",
            traces=_ANY,
        ),
    ),
)

SIDECAR_HEALTH: Final = Board(
    uid="openclaw-sidecar-health",
    title="OpenClaw / Sidecar health",
    about="Is the sidecar there, does it see everything, does it answer in time, does it tell?",
    rows=(_THERE, _SEES, _ANSWERS, _TELLS),
)
