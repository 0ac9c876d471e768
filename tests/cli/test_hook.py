import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.cli.hook import Hook, HookFormat, PreloadPathError, preload_path
from sidecar.config.resolve import Flags, resolve
from tests.cli.conftest import Command

ODD = "we ird \"'$HOME`%hé#?"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on PATH")


@pytest.fixture
def odd(home: Path) -> Path:
    """A preload at a path with everything that a quoting rule can trip over; it says that it was loaded."""
    (home / ODD).mkdir()
    preload = home / ODD / "preload.mjs"
    preload.write_text("console.log(`loaded ${process.env.OPENCLAW_SIDECAR_SOCKET ?? ''}`);\n")
    return preload


def hook(preload: Path, **flags: str) -> Hook:
    return Hook(preload, resolve(Flags(**flags), os.environ))  # type: ignore[arg-type] # all of these are text


def environment_after(script: str) -> dict[str, str]:
    done = subprocess.run(["sh", "-c", f"{script}\nenv -0"], capture_output=True, check=True, text=True)
    return dict(item.split("=", 1) for item in done.stdout.split("\0") if item)


def test_the_path_of_the_preload_is_printed_and_it_is_there(cli: Command) -> None:
    result = cli("hook")
    assert (result.code, result.err) == (0, "")
    assert Path(result.out.rstrip("\n")).name == "preload.mjs"
    assert Path(result.out.rstrip("\n")).is_file()
    assert cli("hook", "--format", "path").out == result.out


@pytest.mark.parametrize("form", HookFormat)
def test_every_format_is_printed_and_given_as_json(cli: Command, form: HookFormat) -> None:
    plain = cli("hook", "--format", form.value)
    body = cli("hook", "--format", form.value, "--json").json()
    assert plain.code == 0
    assert body == {
        "path": str(preload_path()),
        "node_option": f"--import={preload_path().as_uri()}",
        "format": form.value,
        "text": plain.out,
    }


def test_the_shell_lines_keep_what_is_set_already(home: Path, odd: Path) -> None:
    text = hook(odd).text(HookFormat.SHELL)
    assert environment_after(f"unset NODE_OPTIONS\n{text}")["NODE_OPTIONS"] == f"--import={odd.as_uri()}"
    after = environment_after(f"NODE_OPTIONS=--no-warnings\n{text}")
    assert after["NODE_OPTIONS"] == f"--no-warnings --import={odd.as_uri()}"
    assert "OPENCLAW_SIDECAR_SOCKET" not in after


def test_a_socket_that_the_preload_would_not_find_is_told(home: Path, odd: Path) -> None:
    socket = str(home / ODD / "s.sock")
    assert environment_after(hook(odd, socket=socket).text(HookFormat.SHELL))["OPENCLAW_SIDECAR_SOCKET"] == socket


def test_a_gateway_of_another_user_is_told_whose_sidecar_it_obeys(home: Path, odd: Path) -> None:
    """Nothing else tells it: a socket of another user is refused."""
    alone = hook(odd)
    apart = Hook(odd, replace(alone.settings, gateway_uids=frozenset({4711})))
    told = ("OPENCLAW_SIDECAR_UID", str(os.geteuid()))
    assert told in environment_after(apart.text(HookFormat.SHELL)).items()
    assert told in unit_values(apart.text(HookFormat.SYSTEMD)).items()
    assert f'      {told[0]}: "{told[1]}"\n' in apart.text(HookFormat.DOCKER)
    assert not any(told[0] in alone.text(form) for form in HookFormat)


@needs_node
def test_node_loads_the_preload_whatever_its_path(home: Path, odd: Path) -> None:
    environ = environment_after(hook(odd, socket=str(home / ODD / "s")).text(HookFormat.SHELL))
    done = subprocess.run(
        ["node", "-e", ""], env=os.environ | environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"loaded {home / ODD / 's'}\n", "")


def unit_values(text: str) -> dict[str, str]:
    """Read Environment= lines as systemd does: quotes, backslashes, doubled percent signs."""
    values = {}
    for line in text.splitlines():
        if line.startswith("Environment="):
            quoted = line.removeprefix("Environment=")
            assert quoted[0] == quoted[-1] == '"'
            name, value = quoted[1:-1].replace('\\"', '"').replace("\\\\", "\\").replace("%%", "%").split("=", 1)
            values[name] = value
    return values


def test_the_systemd_lines_are_quoted_for_a_unit_file(home: Path, odd: Path) -> None:
    socket = str(home / ODD / "s.sock")
    text = hook(odd, socket=socket).text(HookFormat.SYSTEMD)
    assert "[Service]\n" in text
    assert unit_values(text) == {"NODE_OPTIONS": f"--import={odd.as_uri()}", "OPENCLAW_SIDECAR_SOCKET": socket}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_the_lines(home: Path, odd: Path) -> None:
    unit = home / "openclaw-gateway.service"
    text = hook(odd, socket=str(home / ODD / "s.sock")).text(HookFormat.SYSTEMD)
    unit.write_text(f"[Unit]\nDescription=x\n{text}ExecStart=/bin/true\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "openclaw-gateway.service" not in done.stderr


def test_the_docker_lines_are_yaml_that_compose_reads_back(home: Path, odd: Path) -> None:
    yaml = pytest.importorskip("yaml")
    socket = home / "elsewhere" / "s.sock"
    document = yaml.safe_load(hook(odd, socket=str(socket)).text(HookFormat.DOCKER).replace("$$", "$"))
    service = document["services"]["openclaw-gateway"]
    assert service["environment"] == {
        "NODE_OPTIONS": "--import=file:///opt/openclaw-sidecar/preload.mjs",
        "OPENCLAW_STATE_DIR": str(home / ".openclaw"),
        "OPENCLAW_SIDECAR_SOCKET": str(socket),
    }
    mounts = [(v["source"], v["target"], v.get("read_only", False)) for v in service["volumes"]]
    assert mounts == [
        (str(odd.parent), "/opt/openclaw-sidecar", True),
        (str(home / ".openclaw"), str(home / ".openclaw"), False),
        (str(socket.parent), str(socket.parent), False),
    ]


def test_the_docker_lines_leave_no_dollar_sign_to_compose(home: Path, odd: Path) -> None:
    text = hook(odd).text(HookFormat.DOCKER)
    assert "$" not in text.replace("$$", "")
    assert "elsewhere" not in text


def test_the_kubernetes_lines_share_preload_and_socket_between_the_containers(home: Path) -> None:
    yaml = pytest.importorskip("yaml")
    pod = yaml.safe_load(hook(preload_path()).text(HookFormat.KUBERNETES))["spec"]["template"]["spec"]
    gateway, sidecar = pod["containers"]
    environ = {e["name"]: e["value"] for e in gateway["env"]}
    assert environ["NODE_OPTIONS"] == "--import=file:///openclaw-sidecar/preload/preload.mjs"
    assert environ["OPENCLAW_SIDECAR_SOCKET"] == "/openclaw-sidecar/run/openclaw-sidecar.sock"
    assert {e["name"]: e["value"] for e in sidecar["env"]} == {
        "OPENCLAW_SIDECAR_SOCKET": environ["OPENCLAW_SIDECAR_SOCKET"]
    }
    for container in (*pod["initContainers"], gateway, sidecar):
        assert {"name": "openclaw-sidecar", "mountPath": "/openclaw-sidecar"} in container["volumeMounts"]


def test_the_copying_of_the_preload_in_the_pod_works_and_makes_a_private_directory_for_the_socket(
    home: Path, odd: Path
) -> None:
    """A volume of a pod may be written to by all; a gateway obeys no socket there."""
    yaml = pytest.importorskip("yaml")
    pod = yaml.safe_load(hook(preload_path()).text(HookFormat.KUBERNETES))["spec"]["template"]["spec"]
    [*shell, script] = pod["initContainers"][0]["command"]
    (home / "bin").mkdir()
    (home / "bin" / "openclaw-sidecar").write_text(f"#!/bin/sh\nprintf '%s\\n' '{preload_path()}'\n")
    (home / "bin" / "openclaw-sidecar").chmod(0o755)
    (home / "volume").mkdir()
    script = script.replace("/openclaw-sidecar/", f"{home}/volume/")
    environ = os.environ | {"PATH": f"{home}/bin:{os.environ['PATH']}"}
    subprocess.run([*shell, script], check=True, env=environ)
    assert (home / "volume" / "preload" / "preload.mjs").read_bytes() == preload_path().read_bytes()
    assert (home / "volume" / "run").stat().st_mode & 0o7777 == 0o700


def test_an_installation_without_the_preload_says_so(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _package: Path("/nowhere"))
    result = cli("hook")
    assert result.code == 3
    assert result.err == (
        "openclaw-sidecar: preload /nowhere/preload/preload.mjs: is not there; install openclaw-sidecar again\n"
    )


@pytest.mark.parametrize("name", ["back\\slash", "\udcff"])
def test_a_path_that_node_refuses_is_refused_before_it_keeps_a_gateway_from_starting(home: Path, name: str) -> None:
    with pytest.raises(PreloadPathError, match="another directory") as caught:
        hook(home / name / "preload.mjs").text(HookFormat.SHELL)
    str(caught.value).encode("utf-8")


def test_the_node_option_is_json_safe_and_has_no_space(home: Path, odd: Path) -> None:
    option = hook(odd).node_option
    assert json.loads(json.dumps(option)) == option
    assert " " not in option
