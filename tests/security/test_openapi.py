"""The API does what its OpenAPI document says, whatever it is asked: a bounded run of schemathesis."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from sidecar.config.settings import Settings
from sidecar.config.token import TokenKind, make_token
from sidecar.core.custody.files.chain import KeptChain, examine
from sidecar.core.custody.files.manifest import Manifest, Segment
from sidecar.core.custody.kept import AnyChain
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.service.listeners import api_listener
from sidecar.store.incidents import IncidentStore
from sidecar.watch.reading import take_snapshot
from sidecar.web.app import create_app
from tests.store.conftest import clock, path, store
from tests.store.samples import foreign, held, save_incident
from tests.web.conftest import Service, running
from tests.web.test_hooks import TOKEN, Desk

__all__ = ["clock", "path", "store"]

EXAMPLES = 60
"""Of each kind for each operation."""


@dataclass
class Custody:
    """Knows one transcript by its name, and several by an empty one."""

    file: Path

    def files(self, session: str) -> tuple[str, ...]:
        return (str(self.file),) if session == self.file.name else ("a", "b") if not session.strip("0") else ()

    async def chain(self, file: str) -> AnyChain:
        segment = Segment(0, 3, "a" * 64, Writer(WriterKind.CRON, "digest"), 1)
        kept = KeptChain(file=file, session="", manifest=Manifest((segment,)), since_ns=1, watched_ns=1)
        return examine(kept, (), take_snapshot(self.file))


DOCUMENT = create_app(
    Service().status, cast("IncidentStore", None), custody=Custody(Path("s.jsonl")), hooks=Desk()
).openapi()
OPERATIONS = sorted((path, method) for path, methods in DOCUMENT["paths"].items() for method in methods)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize(("target", "method"), OPERATIONS)
def test_every_answer_is_one_that_the_document_names(
    store: IncidentStore, tmp_path: Path, target: str, method: str, mode: schemathesis.GenerationMode
) -> None:
    for incident in (foreign(), held()):
        save_incident(store, incident)
    (tmp_path / "s.jsonl").write_text("{}\n")
    setting = Settings(state_dir=tmp_path, data_dir=tmp_path, socket=tmp_path / "s", http_port=0)
    token = make_token(setting.api_token_file, TokenKind.API)
    headers = {"Authorization": f"Bearer {TOKEN if target == '/v1/hooks' else token}"}
    app = create_app(Service().status, store, custody=Custody(tmp_path / "s.jsonl"), hooks=Desk())
    with running(api_listener(app, setting, lambda _detail: None)) as address:
        document = f"http://{address}/openapi.json"
        schema = schemathesis.openapi.from_url(document, headers={"Authorization": f"Bearer {token}"})

        # The token that is added here mends what has been broken on purpose.
        excluded = [schemathesis.checks.negative_data_rejection]
        if target in {"/v1/incidents", "/v1/hooks"}:
            # By the document any text may be a time, and 1.0 is an integer.
            excluded.append(schemathesis.checks.positive_data_acceptance)

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=schema[target][method].as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(headers=headers, excluded_checks=excluded)

        ask()
