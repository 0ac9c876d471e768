"""The lines that put the preload into a gateway, for each place that a gateway runs in."""

import json
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Final

from sidecar import __version__
from sidecar.config.settings import METRICS_PORT, SOCKET_NAME, Settings, default_socket
from sidecar.core.errors import SidecarError
from sidecar.store.printable import clean, lines, one_line

SOCKET_VARIABLE: Final = "OPENCLAW_SIDECAR_SOCKET"
UID_VARIABLE: Final = "OPENCLAW_SIDECAR_UID"
_IN_CONTAINER: Final = "/opt/openclaw-sidecar"
_IN_POD: Final = "/openclaw-sidecar"
_POD_STATE_DIR: Final = "/home/node/.openclaw"


class PreloadMissingError(SidecarError, FileNotFoundError):
    """The installation lacks the preload."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"preload {one_line(str(path))}: is not there; install openclaw-sidecar again")


class PreloadPathError(SidecarError, ValueError):
    """Node.js would refuse to load the preload from where it is, and so the gateway would not start."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"preload {one_line(str(path))}: Node.js loads no module from a path with a backslash, or one that is not"
            " UTF-8; install openclaw-sidecar in another directory"
        )


class HookPathError(SidecarError, ValueError):
    """A line would have to hold what no terminal shows."""

    def __init__(self, text: str) -> None:
        wrong = next(line for line in text.split("\n") if one_line(line) != line)
        super().__init__(f"{one_line(wrong)}: the path has characters that can't be shown; name another one")


class HookFormat(StrEnum):
    """Where the gateway runs."""

    PATH = "path"
    SHELL = "shell"
    SYSTEMD = "systemd"
    DOCKER = "docker"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class Hook:
    """What the lines are made from.

    Attributes:
        preload: The module that Node.js loads first.
        settings: Those of the sidecar that the gateway is to find.
    """

    preload: Path
    settings: Settings

    @property
    def node_option(self) -> str:
        """For NODE_OPTIONS, which is parted at spaces: the path percent-encoded.

        Raises:
            PreloadPathError: Node.js could not load it.
        """
        if "\\" in str(self.preload) or clean(str(self.preload)) != str(self.preload):
            raise PreloadPathError(self.preload)
        return f"--import={self.preload.as_uri()}"

    @property
    def socket(self) -> str:
        """The socket if the gateway has to be told of it; empty when it finds it by itself."""
        settings = self.settings
        return "" if settings.socket == default_socket(settings.state_dir) else str(settings.socket)

    @property
    def variables(self) -> dict[str, str]:
        """What the gateway has to be told besides: the socket, and the sidecar's user where that is another one."""
        uid = {UID_VARIABLE: str(os.geteuid())} if self.settings.gateway_uids else {}
        return ({SOCKET_VARIABLE: self.socket} if self.socket else {}) | uid

    def text(self, form: HookFormat) -> str:
        """The lines, the last one ended.

        Raises:
            HookPathError: A path in them can't be shown, and so not be copied.
        """
        text = _FORMS[form](self)
        if lines(text) != text:
            raise HookPathError(text)
        return text


def preload_path() -> Path:
    """The module's place in this installation.

    Raises:
        PreloadMissingError: It is not there.
    """
    path = Path(str(resources.files("sidecar") / "preload" / "preload.mjs"))
    if not path.is_file():
        raise PreloadMissingError(path)
    return path


def _path(hook: Hook) -> str:
    return f"{hook.preload}\n"


def _shell(hook: Hook) -> str:
    lines = [
        "# In the shell or script that starts the gateway:",
        f'export NODE_OPTIONS="${{NODE_OPTIONS:+$NODE_OPTIONS }}{hook.node_option}"',
    ]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in hook.variables.items()]
    return "\n".join(lines) + "\n"


def _systemd(hook: Hook) -> str:
    lines = [
        "# systemctl --user edit openclaw-gateway.service (the name of your unit), and add:",
        "# (if your unit sets NODE_OPTIONS already, put both values into this line, with a space between)",
        "[Service]",
        f'Environment="{_unit_value("NODE_OPTIONS=" + hook.node_option)}"',
    ]
    lines += [f'Environment="{_unit_value(f"{name}={value}")}"' for name, value in hook.variables.items()]
    lines.append("# then: systemctl --user restart openclaw-gateway.service")
    return "\n".join(lines) + "\n"


def _unit_value(text: str) -> str:
    """Quoted for a unit file, where a percent sign begins a specifier."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped.replace("\n", "\\n").replace("\t", "\\t")


def _docker(hook: Hook) -> str:
    settings = hook.settings
    state, socket = _compose(str(settings.state_dir)), settings.socket
    variables = {SOCKET_VARIABLE: str(socket)} | hook.variables
    lines = [
        "# compose.override.yaml beside the gateway's compose file; then: docker compose up -d openclaw-gateway",
        "# Sidecar and gateway run as the same user and see the state directory under the same path.",
        "# If your service sets NODE_OPTIONS already, put both values into this one, with a space between.",
        "services:",
        "  openclaw-gateway:",
        "    environment:",
        f'      NODE_OPTIONS: "--import=file://{_IN_CONTAINER}/{hook.preload.name}"',
        f"      OPENCLAW_STATE_DIR: {state}",
        *(f"      {name}: {_compose(value)}" for name, value in variables.items()),
        "    volumes:",
        "      - type: bind",
        f"        source: {_compose(str(hook.preload.parent))}",
        f"        target: {_IN_CONTAINER}",
        "        read_only: true",
        "      - type: bind",
        f"        source: {state}",
        f"        target: {state}",
    ]
    if not socket.is_relative_to(settings.state_dir):
        where = _compose(str(socket.parent))
        lines += ["      - type: bind", f"        source: {where}", f"        target: {where}"]
    return "\n".join(lines) + "\n"


def _compose(text: str) -> str:
    """A YAML string, where Compose would take a dollar sign for a variable."""
    return json.dumps(one_line(text).replace("$", "$$"), ensure_ascii=False)


def _kubernetes(hook: Hook) -> str:
    private = f"{_IN_POD}/run"  # a gateway obeys no socket in a directory that others may write to, as a volume's is
    socket = f"{private}/{SOCKET_NAME}"
    image = f"openclaw-sidecar:{__version__}"
    return f"""\
# kubectl patch deployment openclaw --patch-file THIS_FILE
# The names are those of OpenClaw's own manifests; change them, and the image, to yours: container "gateway",
# volume "openclaw-home" with the state directory {_POD_STATE_DIR}, user 1000.
# A container has one NODE_OPTIONS: put what yours has already (such as --max-old-space-size=1536) in front of --import.
# To be scraped, and probed at /healthz, the sidecar needs - --metrics=0.0.0.0:{METRICS_PORT} in its command. Give it no
# readiness probe: without a sidecar the gateway serves as ever, and the Pod has to stay in service.
spec:
  template:
    spec:
      volumes:
        - name: openclaw-sidecar
          emptyDir: {{}}
      initContainers:
        - name: openclaw-sidecar-preload
          image: {image}
          command:
            - sh
            - -c
            - |
              mkdir -p -m 700 {private}
              openclaw-sidecar hook --format path | while IFS= read -r file; do cp -R "${{file%/*}}" {_IN_POD}/; done
          securityContext:
            runAsUser: 1000
            runAsGroup: 1000
          volumeMounts:
            - name: openclaw-sidecar
              mountPath: {_IN_POD}
      containers:
        - name: gateway
          env:
            - name: NODE_OPTIONS
              value: "--import=file://{_IN_POD}/{hook.preload.parent.name}/{hook.preload.name}"
            - name: {SOCKET_VARIABLE}
              value: {socket}
          volumeMounts:
            - name: openclaw-sidecar
              mountPath: {_IN_POD}
        - name: openclaw-sidecar
          image: {image}
          command:
            - openclaw-sidecar
            - run
            - --state-dir={_POD_STATE_DIR}
            - --data-dir={_POD_STATE_DIR}/openclaw-sidecar
          env:
            - name: {SOCKET_VARIABLE}
              value: {socket}
          securityContext:
            runAsUser: 1000
            runAsGroup: 1000
          volumeMounts:
            - name: openclaw-sidecar
              mountPath: {_IN_POD}
            - name: openclaw-home
              mountPath: {_POD_STATE_DIR}
"""


_FORMS: Final[dict[HookFormat, Callable[[Hook], str]]] = {
    HookFormat.PATH: _path,
    HookFormat.SHELL: _shell,
    HookFormat.SYSTEMD: _systemd,
    HookFormat.DOCKER: _docker,
    HookFormat.KUBERNETES: _kubernetes,
}
