"""The flags of ``thv run`` as a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thv_core.errors import InvalidDocument, InvalidRequest, SecretNotFound
from thv_core.model.serving import SERVING, Serving
from thv_supervisor.requesting import request_from

NOTHING: dict[str, Any] = {
    "server": "",
    "args": (),
    "name": "",
    "env_vars": (),
    "secrets": (),
    "transport": "",
    "proxy_port": 0,
    "profile": "",
    "volumes": (),
    "config_file": "",
    "target_port": 0,
    "allow_network": (),
    "allow_read": (),
    "allow_write": (),
    "allow_socket": False,
    "allow_scripts": False,
    "image": "",
    "group": "default",
    "labels": (),
    "host": "127.0.0.1",
    "env_file": "",
    "env_file_dir": "",
    "isolate_network": True,
    "drop_unsupported": False,
    "proxy_mode": "streamable-http",
    "endpoint_prefix": "",
    "allowed_origins": (),
    "trust_proxy_headers": False,
    "stateless": False,
    "strict_protocol_validation": False,
    "session_ttl": 0.0,
    "request_timeout": 0.0,
    "stdio_sessions": "shared",
    "forward_headers": (),
    "forward_secrets": (),
    "session_redis": "",
    "tls_cert": "",
    "tls_key": "",
    "socket": "",
}


MESSAGES: list[str] = []
"""What the last request said to its user."""


class RecordingConsole:
    """Where a command runs, and what it says."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        self.environment = environment
        self.directory = directory
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def request(directory: Path, environment: dict[str, str] | None = None, **flags: Any) -> dict[str, Any]:
    """Return the request as control receives it."""
    said = RecordingConsole(environment or {}, directory)
    given = [name for name, value in flags.items() if value != NOTHING[name]]
    made = request_from(NOTHING | {"server": "uvx://a"} | flags, given, said)
    MESSAGES[:] = said.messages
    received: dict[str, Any] = json.loads(json.dumps(made))
    return received


def test_each_flag_has_its_place(tmp_path: Path) -> None:
    made = request(
        tmp_path,
        args=("--x", "1"),
        name="n",
        env_vars=("A=1", "B=x=y", "C="),
        secrets=("s,target=S",),
        transport="stdio",
        proxy_port=5,
        target_port=8000,
        allow_network=("a.example:1", "*"),
        allow_read=("/r",),
        allow_write=("/w:/x",),
        allow_socket=True,
        allow_scripts=True,
        group="team",
        labels=("a=1", "b.example/c="),
        host="::1",
    )
    assert made | {"request_id": ""} == {
        "request_id": "",
        "server": "uvx://a",
        "run_config": None,
        "name": "n",
        "group": "team",
        "labels": {"a": "1", "b.example/c": ""},
        "host": "::1",
        "replaces": "",
        "transport": "stdio",
        "proxy_port": 5,
        "cmd_args": ["--x", "1"],
        "env_vars": {"A": "1", "B": "x=y", "C": ""},
        "secrets": ["s,target=S"],
        "volumes": [],
        "target_port": 8000,
        "allow_scripts": True,
        "allow_network": ["a.example:1", "*"],
        "allow_read": ["/r"],
        "allow_write": ["/w:/x"],
        "allow_socket": True,
        "permission_profile": None,
        "permission_profile_name_or_path": "",
        "shell_values": {},
        "network": {},
        **msgspec.to_builtins(Serving()),
        "allowed_origins": [],
    }


def test_how_clients_meet_it_has_its_place(tmp_path: Path) -> None:
    made = request(
        tmp_path,
        {"KEY": "v4lue"},
        proxy_mode="sse",
        endpoint_prefix="/team",
        allowed_origins=("https://a.example", "https://b.example"),
        trust_proxy_headers=True,
        stateless=True,
        strict_protocol_validation=True,
        session_ttl=1800.0,
        request_timeout=90.0,
        stdio_sessions="per-client",
        forward_headers=("X-A=b=c", "X-B=d"),
        forward_secrets=("Authorization=token", "X-C=env:KEY"),
        session_redis="redis:6379",
        tls_cert="c.pem",
        tls_key="/k.pem",
        socket="run/s.sock",
    )
    assert {key: made[key] for key in SERVING} == {
        "proxy_mode": "sse",
        "endpoint_prefix": "/team",
        "allowed_origins": ["https://a.example", "https://b.example"],
        "trust_proxy_headers": True,
        "stateless": True,
        "strict_protocol_validation": True,
        "session_ttl": "30m0s",
        "request_timeout": "1m30s",
        "stdio_sessions": "per-client",
        "header_forward": {
            "add_plaintext_headers": {"X-A": "b=c", "X-B": "d"},
            "add_headers_from_secret": {"Authorization": "token", "X-C": "env:KEY"},
        },
        "scaling_config": {
            "session_redis": {"address": "redis:6379", "db": 0, "key_prefix": "thv:proxy:session:"},
        },
        "tls_certificate": f"{tmp_path}/c.pem",
        "tls_key": "/k.pem",
        "socket": f"{tmp_path}/run/s.sock",
    }
    assert made["shell_values"] == {"env:KEY": "v4lue"}
    assert [message for message in MESSAGES if "proxy mode sse is deprecated" in message] == MESSAGES


@pytest.mark.parametrize("flag", ["forward_headers", "forward_secrets"])
@pytest.mark.parametrize("text", ["hunter2", "=hunter2", "X-A="])
def test_a_header_without_name_or_value_is_refused_and_no_value_repeated(tmp_path: Path, flag: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match="--remote-forward-headers") as refused:
        request(tmp_path, **{flag: (text,)})
    assert text == "hunter2" or "hunter2" not in refused.value.message
    assert refused.value.hint


def test_a_header_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="the header x-a is given twice"):
        request(tmp_path, forward_headers=("X-A=b", "x-a=c"))


def test_every_request_has_an_id_of_its_own(tmp_path: Path) -> None:
    assert request(tmp_path)["request_id"] != request(tmp_path)["request_id"]


def test_nothing_to_run_is_refused_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="say which server") as refused:
        request(tmp_path, server="")
    assert "thv run uvx://" in refused.value.hint


@pytest.mark.parametrize("pair", ["A", "=1", ""])
def test_a_variable_without_name_or_value_is_refused(tmp_path: Path, pair: str) -> None:
    with pytest.raises(InvalidRequest, match="is not KEY=VALUE"):
        request(tmp_path, env_vars=("OK=1", pair))


# Volumes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ":/data", ":/data:ro", ":/data:rw"])
def test_a_relative_volume_is_relative_to_the_callers_directory(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "files").mkdir()
    assert request(tmp_path, volumes=(f"files{suffix}",))["volumes"] == [f"{tmp_path}/files{suffix}"]
    assert request(tmp_path, volumes=(f"./files{suffix}",))["volumes"] == [f"{tmp_path}/files{suffix}"]
    assert request(tmp_path, volumes=(f"{tmp_path}/files{suffix}",))["volumes"] == [f"{tmp_path}/files{suffix}"]


def test_a_tilde_is_the_callers_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "notes").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    assert request(Path("/"), volumes=("~/notes:/notes:ro",))["volumes"] == [f"{home}/notes:/notes:ro"]


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        ("~no-such-user-of-thv/x:/x", "no such home"),
        (":/x", "names no path"),
        ("", "names no path"),
        (".:relative", "not absolute"),
        (".:/a:/b", "is not a mount"),
    ],
)
def test_a_volume_that_cannot_be_meant_is_refused(tmp_path: Path, volume: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^--volume .*{words}"):
        request(tmp_path, volumes=(volume,))


def test_whether_a_volume_exists_is_for_control_to_say(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    made = request(tmp_path, volumes=("missing:/x", "link:/y:ro"))
    assert made["volumes"] == [f"{tmp_path}/missing:/x", f"{tmp_path}/link:/y:ro"]


@pytest.mark.parametrize("flag", ["allow_read", "allow_write"])
def test_a_path_to_allow_is_resolved_like_a_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    made = request(tmp_path, **{flag: ("notes", "./a:/b", "~/c", "/d/../e")})
    assert made[flag] == [f"{tmp_path}/notes", f"{tmp_path}/a:/b", "/home/ada/c", "/d/../e"]


@pytest.mark.parametrize(("flag", "spelled"), [("allow_read", "--allow-read"), ("allow_write", "--allow-write")])
@pytest.mark.parametrize("path", ["", ":/x", "~no-such-user-of-thv/x", ".:relative", ".:/a:ro"])
def test_a_path_to_allow_that_cannot_be_meant_is_named_with_its_flag(
    tmp_path: Path, flag: str, spelled: str, path: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{spelled} "):
        request(tmp_path, **{flag: (path,)})


@pytest.mark.parametrize("path", [".:relative", ".:/a:/b", ".:/a:ro", "a;b"])
def test_what_is_no_mount_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidRequest, match="is not"):
        request(tmp_path, allow_read=(path,))


@pytest.mark.parametrize("entry", ["https://a.example", "a b", "a.example:", "10.1.2.3/8", ""])
def test_an_entry_that_says_no_host_is_named_with_its_flag(tmp_path: Path, entry: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^--allow-network: ") as refused:
        request(tmp_path, allow_network=("a.example", entry))
    assert refused.value.hint.startswith("Write ")


# Profiles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "network"])
def test_a_profile_of_thv_needs_no_file(tmp_path: Path, name: str) -> None:
    made = request(tmp_path, profile=name)
    assert made["permission_profile"]["name"] == name
    assert made["permission_profile_name_or_path"] == name


def test_a_profile_is_read_from_the_callers_directory(tmp_path: Path) -> None:
    (tmp_path / "team").write_text('{"name": "team", "read": ["/etc/hosts"]}')
    (tmp_path / "team.json").write_text('{"name": "team", "read": ["/etc/hosts"]}')
    for spelled in ("team.json", "./team"):
        assert request(tmp_path, profile=spelled)["permission_profile"]["read"] == ["/etc/hosts"]
    assert request(Path("/"), profile=f"{tmp_path}/team")["permission_profile"]["name"] == "team"


def test_an_unknown_profile_names_those_that_there_are_even_beside_a_file_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "networ").write_text('{"name": "networ"}')
    with pytest.raises(InvalidRequest, match="no permission profile 'networ'") as refused:
        request(tmp_path, profile="networ")
    assert refused.value.hint == "Did you mean network? Use none, network, or a file: ./team.json."


@pytest.mark.parametrize("profile", ["team.json", "./team", "."])
def test_a_profile_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, profile: str) -> None:
    with pytest.raises(InvalidRequest, match=r"cannot be read: (No such file|Is a directory)"):
        request(tmp_path, profile=profile)


def test_a_profile_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "team.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequest, match=r"team\.json cannot be read: it is not UTF-8"):
        request(tmp_path, profile="team.json")


# A whole configuration -----------------------------------------------------------------------------------------------


def config(tmp_path: Path, **more: Any) -> str:
    (tmp_path / "c.json").write_text(json.dumps({"name": "a", "image": "uvx://a@1"} | more))
    return "c.json"


def test_a_config_is_read_and_may_get_another_name(tmp_path: Path) -> None:
    made = request(tmp_path, server="", config_file=config(tmp_path, env_vars={"A": "1"}), name="b")
    assert (made["run_config"]["name"], made["name"], made["server"]) == ("a", "b", "")
    assert made["run_config"]["env_vars"] == {"A": "1"}


@pytest.mark.parametrize(
    ("flag", "value", "spelled"),
    [
        ("server", "uvx://b", "SERVER"),
        ("args", ("x",), "ARGS"),
        ("env_vars", ("A=1",), "--env"),
        ("secrets", ("a,target=A",), "--secret"),
        ("volumes", ("/tmp",), "--volume"),
        ("profile", "none", "--permission-profile"),
        ("transport", "stdio", "--transport"),
        ("proxy_port", 19500, "--proxy-port"),
        ("target_port", 8000, "--target-port"),
        ("allow_network", ("a.example",), "--allow-network"),
        ("allow_read", ("/tmp",), "--allow-read"),
        ("allow_write", ("/tmp",), "--allow-write"),
        ("allow_socket", True, "--allow-socket"),
        ("allow_scripts", True, "--allow-scripts"),
        ("image", "uvx://b", "--image"),
        ("group", "team", "--group"),
        ("labels", ("a=1",), "--label"),
        ("host", "::1", "--host"),
        ("env_file", "a.env", "--env-file"),
        ("env_file_dir", "env", "--env-file-dir"),
        ("proxy_mode", "sse", "--proxy-mode"),
        ("stateless", True, "--stateless"),
        ("forward_headers", ("X-A=b",), "--remote-forward-headers"),
        ("session_redis", "redis:1", "--session-redis"),
        ("tls_cert", "c", "--tls-cert"),
        ("socket", "s", "--socket"),
    ],
)
def test_a_config_and_a_flag_that_it_would_silence_exclude_each_other(
    tmp_path: Path, flag: str, value: object, spelled: str
) -> None:
    with pytest.raises(InvalidRequest, match=f" {spelled} was given too"):
        request(tmp_path, **({"server": "", "config_file": config(tmp_path)} | {flag: value}))


def test_a_config_that_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"x\.json cannot be read: No such file"):
        request(tmp_path, server="", config_file="x.json")
    with pytest.raises(InvalidDocument, match=r"c\.json: imag is not a known key"):
        request(tmp_path, server="", config_file=config(tmp_path, imag="x"))


def test_an_export_of_toolhive_is_read_and_what_it_cannot_have_is_listed_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(
        json.dumps(
            {"schema_version": "v0.1.0", "name": "a", "image": "uvx://a@1", "debug": True, "tools_filter": ["x"]}
        )
    )
    with pytest.raises(InvalidDocument) as refused:
        request(tmp_path, server="", config_file="t.json")
    assert "tools_filter" in str(refused.value)
    made = request(tmp_path, server="", config_file="t.json", drop_unsupported=True)
    assert (made["run_config"]["name"], made["group"], made["host"]) == ("a", "", "")
    assert "tools_filter" in " ".join(MESSAGES)


def test_the_secrets_of_a_config_are_taken_from_the_shell_too(tmp_path: Path) -> None:
    file = config(tmp_path, secrets=["env:T,target=A"])
    made = request(tmp_path, {"T": "v4lue"}, server="", config_file=file)
    assert made["shell_values"] == {"env:T": "v4lue"}


# The network ---------------------------------------------------------------------------------------------------------


def test_the_way_to_the_network_is_taken_from_the_shell_and_nothing_else(tmp_path: Path) -> None:
    wanted = {
        "UV_INDEX_URL": "https://index.example/simple",
        "HTTPS_PROXY": "http://proxy.example:1",
        "http_proxy": "http://proxy.example:2",
        "no_proxy": "localhost",
        "All_Proxy": "socks5://proxy.example:3",
        "NETRC": "/n",
        "SSL_CERT_FILE": "/c.pem",
        "SSL_CERT_DIR": "/c",
    }
    others = {"PATH": "/bin", "uv_index_url": "no", "MY_UV_X": "no", "PIP_INDEX_URL": "no", "FTP_PROXY": "no"}
    assert request(tmp_path, wanted | others)["network"] == wanted


# Secrets -------------------------------------------------------------------------------------------------------------


def test_a_secret_of_the_shell_is_taken_there(tmp_path: Path) -> None:
    made = request(tmp_path, {"T": "v4lue", "OTHER": "x"}, secrets=("env:T,target=A",))
    assert made["shell_values"] == {"env:T": "v4lue"}
    assert "v4lue" not in json.dumps(made | {"shell_values": {}})


def test_a_secret_that_the_shell_lacks_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SecretNotFound, match="T is not set in this shell") as refused:
        request(tmp_path, {"TOOLHIVE_SECRET_T": "x"}, secrets=("env:T,target=A",))
    assert "export T=" in refused.value.hint


def test_another_secret_falls_back_to_its_variable(tmp_path: Path) -> None:
    environment = {"TOOLHIVE_SECRET_github": "v4lue", "github": "no", "TOOLHIVE_SECRET_other": "no"}
    made = request(tmp_path, environment, secrets=("github,target=A", "absent,target=B"))
    assert made["shell_values"] == {"github": "v4lue"}


@pytest.mark.parametrize(("switch", "kept"), [("true", False), ("false", True), ("", True)])
def test_the_fallback_has_a_switch_that_leaves_the_shell_alone(tmp_path: Path, switch: str, kept: bool) -> None:
    environment = {"TOOLHIVE_SECRET_a": "1", "T": "2", "TOOLHIVE_DISABLE_ENV_FALLBACK": switch}
    made = request(tmp_path, environment, secrets=("a,target=A", "env:T,target=B"))
    assert made["shell_values"] == ({"a": "1"} if kept else {}) | {"env:T": "2"}


@pytest.mark.parametrize("text", ["a", "a,target=", "a,target=1x", ",target=A"])
def test_a_malformed_reference_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not NAME,target=VARIABLE") as refused:
        request(tmp_path, secrets=(text,))
    assert "GITHUB_TOKEN=env:GITHUB_TOKEN" in refused.value.hint


def test_a_variable_of_the_shell_has_a_short_spelling(tmp_path: Path) -> None:
    made = request(tmp_path, {"T": "v4lue"}, secrets=("A=env:T", "github,target=B"))
    assert made["secrets"] == ["env:T,target=A", "github,target=B"]
    assert made["shell_values"] == {"env:T": "v4lue"}


# Variables -----------------------------------------------------------------------------------------------------------


def test_a_file_yields_to_a_directory_and_both_to_flags(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=file\nB=file\nC=file\n")
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "1").write_text("B=first\nC=first\n")
    (tmp_path / "env" / "2").write_text("B=second\n")
    made = request(tmp_path, env_file="a.env", env_file_dir="env", env_vars=("C=flag",))
    assert made["env_vars"] == {"A": "file", "B": "second", "C": "flag"}


def test_a_file_of_variables_that_cannot_be_read_is_named_with_its_flag(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"^--env-file a\.env cannot be read: No such file"):
        request(tmp_path, env_file="a.env")
    with pytest.raises(InvalidRequest, match=r"^--env-file-dir env cannot be read: No such file"):
        request(tmp_path, env_file_dir="env")
    with pytest.raises(InvalidRequest, match="no such home"):
        request(tmp_path, env_file="~no-such-user-of-thv/x")
