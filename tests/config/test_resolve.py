import hashlib
from pathlib import Path

import pytest

from sidecar.config.errors import ConfigError
from sidecar.config.resolve import Flags, resolve
from sidecar.config.settings import LogFormat, Settings
from sidecar.core.policy.policy import Mode

HOME = {"HOME": "/home/joe"}


def test_nothing_said_gives_the_defaults() -> None:
    settings = resolve(Flags(), HOME)
    digest = hashlib.sha256(b"/home/joe/.openclaw").hexdigest()[:12]
    assert settings.policy is None
    assert settings == Settings(
        state_dir=Path("/home/joe/.openclaw"),
        data_dir=Path(f"/home/joe/.local/state/openclaw-sidecar/{digest}"),
        socket=Path("/home/joe/.openclaw/openclaw-sidecar.sock"),
        http_host="127.0.0.1",
        http_port=9465,
        metrics_host="127.0.0.1",
        metrics_port=9464,
        mode=Mode.RECOVER,
        notify=(),
        log_format=LogFormat.AUTO,
    )


def test_the_socket_and_the_data_directory_follow_the_state_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    environ = HOME | {"XDG_STATE_HOME": "/var/joe"}
    real = resolve(Flags(state_dir=str(tmp_path / "real")), environ)
    link = resolve(Flags(state_dir=str(tmp_path / "link")), environ)
    assert real.socket == tmp_path / "real" / "openclaw-sidecar.sock"
    assert link.socket == tmp_path / "link" / "openclaw-sidecar.sock"
    assert real.data_dir == link.data_dir
    assert real.data_dir.parent == Path("/var/joe/openclaw-sidecar")


@pytest.mark.parametrize("key", ["state_dir", "data_dir", "socket", "policy"])
def test_flags_go_over_the_environment_over_the_file(tmp_path: Path, key: str) -> None:
    (tmp_path / "c.toml").write_text(f'{key} = "/file"\n')
    config = str(tmp_path / "c.toml")
    environ = HOME | {f"OPENCLAW_SIDECAR_{key.upper()}": "/environment"}
    flags = {"config": config, key: "/flag"}
    assert getattr(resolve(Flags(config=config), HOME), key) == Path("/file")
    assert getattr(resolve(Flags(config=config), environ), key) == Path("/environment")
    assert getattr(resolve(Flags(**flags), environ), key) == Path("/flag")  # type: ignore[arg-type] # a key each


def test_every_other_setting_can_be_given_in_each_place(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('http = "127.0.0.1:1"\nobserve = true\nnotify = ["json://a", "json://b"]\nlog_format = "json"\n')
    by_file = resolve(Flags(), HOME | {"OPENCLAW_SIDECAR_CONFIG": str(config)})
    assert (by_file.http_port, by_file.mode, by_file.notify) == (1, Mode.OBSERVE, ("json://a", "json://b"))
    assert by_file.log_format is LogFormat.JSON

    environ = HOME | {
        "OPENCLAW_SIDECAR_CONFIG": str(config),
        "OPENCLAW_SIDECAR_HTTP": "[::1]:2",
        "OPENCLAW_SIDECAR_OBSERVE": "no",
        "OPENCLAW_SIDECAR_NOTIFY": "json://c,d  json://e\n",
        "OPENCLAW_SIDECAR_LOG_FORMAT": "console",
    }
    by_environment = resolve(Flags(), environ)
    assert (by_environment.http_host, by_environment.http_port) == ("::1", 2)
    assert by_environment.mode is Mode.RECOVER
    assert by_environment.notify == ("json://c,d", "json://e")
    assert by_environment.log_format is LogFormat.CONSOLE

    by_environment = resolve(
        Flags(),
        HOME
        | {
            "OPENCLAW_SIDECAR_METRICS": "[::1]:3",
            "OPENCLAW_SIDECAR_HTTP_NAMES": "a.example b.example",
            "OPENCLAW_SIDECAR_API_TOKEN_FILE": "/secret",
        },
    )
    assert (by_environment.metrics_host, by_environment.metrics_port) == ("::1", 3)
    assert by_environment.http_names == ("a.example", "b.example")
    assert by_environment.api_token_file == Path("/secret")
    assert resolve(Flags(metrics="0.0.0.0:1"), environ).metrics_host == "0.0.0.0"

    by_flag = resolve(Flags(http="0.0.0.0:0", observe=True, notify=("json://f",)), environ)
    assert (by_flag.http_host, by_flag.http_port) == ("0.0.0.0", 0)
    assert by_flag.mode is Mode.OBSERVE
    assert by_flag.notify == ("json://f",)


def test_openclaws_own_variable_is_honoured_below_ours() -> None:
    theirs = HOME | {"OPENCLAW_STATE_DIR": "/theirs"}
    assert resolve(Flags(), theirs).state_dir == Path("/theirs")
    assert resolve(Flags(), theirs | {"OPENCLAW_SIDECAR_STATE_DIR": "/ours"}).state_dir == Path("/ours")
    assert resolve(Flags(), theirs | {"OPENCLAW_SIDECAR_STATE_DIR": ""}).state_dir == Path("/theirs")


def test_paths_are_made_absolute_from_where_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "c.toml").write_text('data_dir = "data"\nsocket = "~/s"\n')
    monkeypatch.chdir(tmp_path)
    settings = resolve(Flags(config="etc/c.toml", state_dir="./x/../state"), HOME)
    assert settings.state_dir == tmp_path / "state"
    assert settings.data_dir == tmp_path / "etc" / "data"
    assert settings.socket == Path("/home/joe/s")


@pytest.mark.parametrize("text", ["9464", "host", ":9464", "::1:9464", "a:b", "a:65536", "a:-1", "a:", "a:٣"])
def test_an_address_that_is_none_is_bad_usage(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--http: ") as caught:
        resolve(Flags(http=text), HOME)
    assert caught.value.usage


def test_a_bad_variable_is_named_and_is_no_bad_usage() -> None:
    with pytest.raises(ConfigError, match=r"^OPENCLAW_SIDECAR_OBSERVE: 'maybe' is neither true nor false") as caught:
        resolve(Flags(), HOME | {"OPENCLAW_SIDECAR_OBSERVE": "maybe"})
    assert not caught.value.usage


def test_an_empty_or_impossible_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="--state-dir: is empty"):
        resolve(Flags(state_dir=""), HOME)
    with pytest.raises(ConfigError, match="NUL"):
        resolve(Flags(state_dir="a\0b"), HOME)


def test_notification_urls_are_never_shown() -> None:
    assert "secret" not in repr(resolve(Flags(notify=("json://secret",)), HOME))
