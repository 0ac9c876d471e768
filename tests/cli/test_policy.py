import json
import tomllib
from pathlib import Path

import pytest

from sidecar.config.pause import read_pause, write_pause
from sidecar.config.policyfile import json_schema
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.policy.blocked import BlockReason, Pause
from sidecar.core.policy.policy import Mode
from sidecar.core.verdict.incident import Incident, Outcome, Recovery, WriterShare
from sidecar.core.verdict.judge import Verdict
from sidecar.store.incidents import IncidentStore
from tests.cli.conftest import Command
from tests.store.samples import NOON, foreign, recovered, save_incident

EXAMPLE = Path(__file__).parents[2] / "docs" / "policy.example.toml"
DENY = '[[rule]]\nname = "no-jobs"\nkinds = ["cron"]\nmay = "nothing"\n'


@pytest.fixture
def deny(home: Path) -> str:
    path = home / "deny.toml"
    path.write_text(DENY)
    return str(path)


def test_check_of_a_right_file_is_0(cli: Command) -> None:
    result = cli("policy", "check", str(EXAMPLE))
    assert (result.code, result.err) == (0, "")
    assert "right; 8 rule(s), default append" in result.out
    body = cli("policy", "check", str(EXAMPLE), "--json").json()
    assert (body["ok"], len(body["rules"]), body["findings"]) == (True, 8, [])


def test_check_says_what_needs_the_kernel_and_what_a_short_lived_program_comes_to(cli: Command, home: Path) -> None:
    path = home / "touchers.toml"
    path.write_text(
        '[unchanged]\nexecutables = ["/usr/bin/touch"]\n\n'
        + DENY.replace("nothing", "append")
        + 'evidence = "kernel"\n'
    )
    result = cli("policy", "check", str(path))
    assert result.code == 0
    assert "[unchanged], [[rule]] no-jobs: only with a sidecar that runs with --who kernel" in result.out
    assert "a command that ends at once (touch, chmod, mv) mostly does not" in result.out
    body = cli("policy", "check", str(path), "--json").json()
    assert body["needs_kernel"] == ["[unchanged]", "[[rule]] no-jobs"]
    assert len(body["cautions"]) == 1


def test_check_of_a_wrong_file_is_1_with_all_that_is_wrong(cli: Command, home: Path) -> None:
    path = home / "bad.toml"
    path.write_text(DENY.replace("no-jobs", "default") + 'names = ["["]\n')
    result = cli("policy", "check", str(path))
    assert result.code == 1
    assert [line.partition(": ")[0] for line in result.out.splitlines()] == [f"{path}:2", f"{path}:5"]
    body = cli("policy", "check", str(path), "--json").json()
    assert [(f["line"], f["key"]) for f in body["findings"]] == [(2, "rule[0].name"), (5, "rule[0].names")]


def test_check_of_a_file_that_is_not_there_is_2(cli: Command, home: Path) -> None:
    result = cli("policy", "check", str(home / "no.toml"))
    assert result.code == 2
    assert "No such file" in result.out
    assert cli("policy", "check").code == 2


def test_the_schema_is_printed(cli: Command) -> None:
    assert json.loads(cli("policy", "schema").out) == json.loads(json.dumps(json_schema()))


CRON = WriterShare("cron", "daily-digest", 4242, 300, did="append", may="nothing", rule="no-jobs")
OWN = WriterShare("user_turn", "", 4242, 100, "run-1", own=True)
FORBIDDEN = Reason.of(ReasonCode.RULE_FORBIDS, rule="no-jobs", writer="cron daily-digest", may="nothing", did="append")
DENIED = recovered(
    verdict=Verdict.UNATTRIBUTED,
    rule="no-jobs",
    policy="0a1b2c3d4e5f",
    turn_lost=True,
    writers=(OWN, CRON),
    reason=FORBIDDEN,
    recovery=Recovery(Outcome.REFUSED, Mode.RECOVER, 0.0, FORBIDDEN, hold=BlockReason.POLICY),
)


def test_explain_says_which_rule_decided_then_and_now_and_what_would_change_it(
    cli: Command, store: IncidentStore, deny: str
) -> None:
    save_incident(store, DENIED)
    result = cli("policy", "explain", DENIED.incident_id, "--policy", deny)
    assert (result.code, result.err) == (0, "")
    assert "Decided by     rule no-jobs\n" in result.out
    assert "Policy then    0a1b2c3d4e5f\n" in result.out
    assert "the fenced run itself" in result.out
    assert "then no-jobs: nothing  now no-jobs: nothing, not allowed" in result.out
    assert "1. Grant cron daily-digest may = 'append': rule 'no-jobs' in line 1 decides" in result.out

    body = cli("policy", "explain", DENIED.incident_id, "--policy", deny, "--json").json()
    assert (body["rule"], body["hold"], body["policy"]["then"]) == ("no-jobs", "policy", "0a1b2c3d4e5f")
    [own, cron] = body["writers"]
    assert own["now"] is None
    assert cron["now"] == {
        "rule": "no-jobs",
        "line": 1,
        "may": "nothing",
        "evidence": "bytes",
        "allowed": False,
        "unknown": False,
    }


def test_explain_with_a_policy_that_allows_it_by_now(cli: Command, store: IncidentStore) -> None:
    save_incident(store, DENIED)
    result = cli("policy", "explain", DENIED.incident_id)
    assert "now default: rewrite, allowed" in result.out
    assert "1. Nothing more: by this policy every writer may do what it did." in result.out


@pytest.mark.parametrize(
    ("incident", "said"),
    [
        (foreign(), "Nothing in a policy: bytes that nobody explained are never recovered across."),
        (recovered(verdict=Verdict.RESET), "Nothing in a policy: the gateway itself ended the session."),
        (
            recovered(verdict=Verdict.UNATTRIBUTED, recovery=Recovery(Outcome.REFUSED)),
            "Nothing in a policy: the evidence has a gap",
        ),
        (
            recovered(),
            "A rule ahead of the others that grants cron daily-digest less than may = 'append' would stop it.",
        ),
        (replace(DENIED, recovery=Recovery(Outcome.NOT_ATTEMPTED, hold=BlockReason.PAUSE)), "openclaw-sidecar resume"),
        (
            replace(DENIED, recovery=Recovery(Outcome.NOT_ATTEMPTED, hold=BlockReason.SESSION_BUDGET)),
            "[budget.session]",
        ),
        (replace(DENIED, recovery=Recovery(Outcome.NOT_ATTEMPTED, hold=BlockReason.OBSERVE)), "without --observe"),
        (
            recovered(
                verdict=Verdict.CO_TENANT, recovery=Recovery(Outcome.REFUSED, reason=Reason(ReasonCode.NO_RELOAD))
            ),
            "Nothing in a policy: recovery refused: old bytes were replaced",
        ),
    ],
)
def test_explain_says_what_would_change_it_or_that_nothing_would(
    cli: Command, store: IncidentStore, incident: Incident, said: str
) -> None:
    save_incident(store, incident)
    assert said in cli("policy", "explain", incident.incident_id).out


KERNEL = (
    '[default]\nevidence = "kernel"\n\n[[rule]]\nname = "jobs"\nkinds = ["cron"]\nmay = "append"\nevidence = "bytes"\n'
)


@pytest.mark.parametrize(
    ("writers", "said"),
    [
        ((CRON,), "Nothing more: by this policy every writer may do what it did."),
        (DENIED.writers, "Ask for evidence = 'bytes' instead of 'kernel'"),
    ],
    ids=["a co-tenant alone", "the run too"],
)
def test_explain_asks_the_policys_evidence_only_for_the_runs_own_bytes(
    cli: Command, store: IncidentStore, home: Path, writers: tuple[WriterShare, ...], said: str
) -> None:
    """As the verdict does: a co-tenant's rule says what its bytes need."""
    path = home / "kernel.toml"
    path.write_text(KERNEL)
    save_incident(store, replace(DENIED, writers=writers))
    assert said in cli("policy", "explain", DENIED.incident_id, "--policy", str(path)).out


def test_explain_of_an_incident_that_is_not_there_is_a_finding(cli: Command, store: IncidentStore) -> None:
    assert store.get("i9") is None
    result = cli("policy", "explain", "i9")
    assert result.code == 1
    assert "no incident i9" in result.err


def test_explain_with_a_policy_file_that_is_wrong_says_so(cli: Command, store: IncidentStore, home: Path) -> None:
    save_incident(store, DENIED)
    (home / "bad.toml").write_text("a = 1\n")
    result = cli("policy", "explain", DENIED.incident_id, "--policy", str(home / "bad.toml"))
    assert (result.code, result.out) == (3, "")
    assert "bad.toml:1: a: unknown key" in result.err


def test_the_story_of_an_incident_names_the_rule_and_what_held_it_back(cli: Command, store: IncidentStore) -> None:
    save_incident(store, DENIED)
    story = cli("explain", DENIED.incident_id).out
    assert "Rule           no-jobs of policy 0a1b2c3d4e5f\nHeld back by   policy\n" in story
    assert f"openclaw-sidecar policy explain {DENIED.incident_id}" in story


def test_pause_without_a_sidecar_holds_for_the_next_one(cli: Command, data_dir: Path) -> None:
    result = cli("pause", "--for", "30m", "--reason", "moving house")
    assert result.code == 0
    assert result.out.startswith("recovery is paused until 20")
    assert "no sidecar runs here now; this holds for the next one that starts" in result.err
    pause = read_pause(data_dir)
    assert pause is not None
    assert (pause.reason, pause.until_ns - pause.since_ns) == ("moving house", 1800 * 1_000_000_000)

    body = cli("resume", "--json").json()
    assert body == {"paused_until": None, "running": False, "in_force": False}
    assert read_pause(data_dir) is None
    assert cli("resume").out == "there was no pause\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--for", "soon", "--reason", "x"), "--for: 'soon' is no length of time; give one such as 30m"),
        (("--for", "32d", "--reason", "x"), "at most 31d"),
        (("--for", "1h", "--reason", " "), "--reason: is empty"),
        (("--for", "1h"), "--reason"),
        (("--reason", "x"), "--for"),
    ],
)
def test_a_pause_without_length_or_reason_is_bad_usage(
    cli: Command, data_dir: Path, options: tuple[str, ...], said: str
) -> None:
    result = cli("pause", *options)
    assert result.code == 2
    assert said in result.err
    assert not data_dir.exists()


def test_a_pause_file_that_is_no_pause_can_be_ended(cli: Command, data_dir: Path) -> None:
    write_pause(data_dir, Pause("x", NOON, NOON))
    (data_dir / "pause.json").write_text("{")
    assert cli("resume").out == "the pause is over\n"


def test_allow_prints_the_rule_and_writes_nothing(cli: Command, home: Path) -> None:
    result = cli("policy", "allow", "nightly-backup", "--exe", "/usr/bin/rsync", "--uid", "1000", "--may", "rewrite")
    assert (result.code, result.err) == (0, "")
    assert tomllib.loads(result.out)["rule"] == [
        {
            "name": "nightly-backup",
            "kinds": ["declared"],
            "names": ["nightly-backup"],
            "executables": ["/usr/bin/rsync"],
            "uids": [1000],
            "may": "rewrite",
        }
    ]
    assert cli("policy", "allow", "nightly-backup", "--json").json()["written"] is False
    assert not list(home.glob("*.toml"))


def test_allow_write_adds_the_rule_to_the_policy_file(cli: Command, deny: str) -> None:
    result = cli("policy", "allow", "backup", "--write", "--policy", deny)
    assert result.code == 0
    assert Path(deny).read_text() == f"{DENY}\n{result.out}"
    assert cli("policy", "check", deny, "--json").json()["rules"] == ["no-jobs", "backup"]
    again = cli("policy", "allow", "backup", "--write", "--policy", deny)
    assert (again.code, again.out) == (3, "")
    assert "is the name of the rule in line" in again.err


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "why"), [(("a b",), "must be a word"), (("backup", "--write"), "no policy file")]
)
def test_allow_that_makes_no_sense_is_bad_usage(cli: Command, arguments: tuple[str, ...], why: str) -> None:
    result = cli("policy", "allow", *arguments)
    assert result.code == 2
    assert why in result.err
