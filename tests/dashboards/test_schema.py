"""The JSON against Grafana's own types: `@grafana/schema` from npm, by TypeScript's compiler.

They are other types than those that the JSON was made with, and those of panels' options come with them. Strings stand
for enums in JSON, so `Plain` makes enums into their strings. Keys that a data source brings are no part of the schema:
of the query of an annotation only what every query has is checked. A panel's own links are data links, as the newer
schema says; the classic one types them as the links of a dashboard. Of a stat's options, the panel's own have defaults.
"""

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.demo.packages import default_cache_dir
from tests.dashboards.grafana import FILES, load, panels

PACKAGES: Final = {"@grafana/schema": "12.3.0", "typescript": "5.9.3"}
OWN_KEYS: Final = {"expr", "legendFormat"}
NPM_TYPES: Final = "./node_modules/@grafana/schema/dist/types"
RAW: Final = f"{NPM_TYPES}/raw/composable"
SCHEMA: Final = f"{NPM_TYPES}/schema"
HEAD: Final = f"""
import type {{ Dashboard, SingleStatBaseOptions }} from '@grafana/schema';
import type {{ Options as timeseries, FieldConfig as timeseriesField }}
  from '{RAW}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type {{ DataLink as link }} from '{SCHEMA}/dashboard/v2beta1/types.spec.gen';
import type {{ Options as StatOptions }} from '{RAW}/stat/panelcfg/x/StatPanelCfg_types.gen';
import type {{ Options as table, FieldConfig as tableField }} from '{RAW}/table/panelcfg/x/TablePanelCfg_types.gen';
import type {{ TempoQuery as tempo }} from '{RAW}/tempo/dataquery/x/TempoDataQuery_types.gen';
type stat = Partial<StatOptions> & SingleStatBaseOptions;
type Plain<T> = T extends string ? `${{T}}` : T extends number | boolean | null | undefined ? T
  : T extends Array<infer E> ? Array<Plain<E>> : unknown extends T ? unknown
  : T extends object ? {{ [K in keyof T]: Plain<T[K]> }} : T;
"""
OPTIONS: Final = ("--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext")


@pytest.fixture(scope="module")
def types() -> Path:
    """A directory with Grafana's types and a compiler, from the cache or from npm."""
    place = default_cache_dir() / "grafana-schema" / "-".join(PACKAGES.values())
    if (place / ".complete").is_file():
        return place
    npm = shutil.which("npm")
    if npm is None:
        if os.environ.get("CI") == "true":
            raise RuntimeError("npm was not found on PATH: Grafana's types come from there")
        pytest.skip("npm was not found on PATH (Debian, Ubuntu: apt-get install npm)")
    place.mkdir(parents=True, exist_ok=True)
    (place / "package.json").write_text('{"private": true}\n')
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    options = ("--ignore-scripts", "--no-audit", "--no-fund", f"--cache={default_cache_dir() / 'npm'}")
    subprocess.run([npm, "install", *options, *wanted], cwd=place, check=True, capture_output=True, timeout=100)
    (place / ".complete").touch()
    return place


def _statements(board: dict[str, Any]) -> str:
    known = copy.deepcopy(board)
    for annotation in known["annotations"]["list"]:
        annotation["target"] = {k: v for k, v in annotation["target"].items() if k not in OWN_KEYS}
    links = [link for panel in panels(known) for link in panel.pop("links")]
    links += [link for panel in panels(board) for link in panel["fieldConfig"]["defaults"].get("links", [])]
    lines = [_constant("board", "Dashboard", known), _constant("links", "Array<link>", links)]
    for panel in panels(board):
        number = panel["id"]
        if panel["type"] == "traces":
            continue  # it has no options
        lines.append(_constant(f"options{number}", panel["type"], panel["options"]))
        if panel["type"] != "stat":
            lines.append(
                _constant(f"field{number}", f"{panel['type']}Field", panel["fieldConfig"]["defaults"]["custom"])
            )
        lines += [
            _constant(f"query{number}{target['refId']}", "tempo", target)
            for target in panel["targets"]
            if target["datasource"]["type"] == "tempo"
        ]
    return "".join(lines)


def _constant(name: str, kind: str, value: object) -> str:
    return f"const {name}: Plain<{kind}> = {json.dumps(value)};\n"


def _complaints(types: Path, name: str, board: dict[str, Any]) -> str:
    source = types / f"{name}.{os.getpid()}.ts"
    source.write_text(HEAD + _statements(board) + "export {};\n")
    try:
        command = [str(types / "node_modules" / ".bin" / "tsc"), *OPTIONS, "--target", "es2022", source.name]
        done = subprocess.run(command, cwd=types, capture_output=True, text=True, timeout=100, check=False)
    finally:
        source.unlink()
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dashboard_is_what_grafanas_schema_allows(path: Path, types: Path) -> None:
    assert _complaints(types, path.stem, load(path)) == ""


def test_the_check_finds_what_is_wrong(types: Path) -> None:
    board = load(FILES[0])
    board["panels"][1]["gridPos"]["w"] = "wide"
    board["panels"][2]["titel"] = "misspelt"
    board["panels"][1]["links"][0]["blank"] = True
    board["templating"]["list"][0]["type"] = "guess"

    found = _complaints(types, "wrong", board)

    assert "Type 'string' is not assignable to type 'number'" in found
    assert "'guess'" in found or '"guess"' in found
    assert "titel" in found
    assert "blank" in found
