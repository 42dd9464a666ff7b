from __future__ import annotations

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from thv_core.errors import SettingsError
from thv_core.model.route import Liveness
from thv_core.state.configuration import Configuration, ConfigurationFile
from thv_core.state.files import locked

COMMENTED = """\
# What runs my servers.
runtime: "sandbox"   # never docker

secrets:
    provider: 'environment'

# Plugins of ours
plugins:
    vault:
        address: https://vault.example  # inside
        retries: 0x1F

# Not these:
disabled:
    - noisy   # too much
    - "odd"
# the end
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture
def file(path: Path) -> ConfigurationFile:
    return ConfigurationFile(path)


def written(path: Path, text: str) -> ConfigurationFile:
    path.write_bytes(text.encode())
    return ConfigurationFile(path)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}\n", "---\n", "runtime:\nsecrets:\nplugins:\n"])
def test_what_is_not_set_has_its_default(path: Path, text: str) -> None:
    assert written(path, text).load() == Configuration()


def test_an_absent_file_is_all_defaults(file: ConfigurationFile) -> None:
    defaults = file.load()
    assert (defaults.runtime, defaults.gateway, defaults.secrets.provider) == ("sandbox", "http", "")
    assert (defaults.start_timeout, defaults.request_timeout) == (60.0, 300.0)
    assert (defaults.plugins, defaults.disabled) == ({}, ())
    assert msgspec.structs.asdict(defaults.health) == msgspec.structs.asdict(Liveness())


def test_everything_is_read(path: Path) -> None:
    settings = written(path, COMMENTED + "start_timeout: 5\nrequest_timeout: 2.5\ngateway: mine\n").load()
    assert (settings.secrets.provider, settings.disabled) == ("environment", ("noisy", "odd"))
    assert settings.plugins == {"vault": {"address": "https://vault.example", "retries": 31}}
    assert (settings.start_timeout, settings.request_timeout, settings.gateway) == (5.0, 2.5, "mine")


def test_the_values_of_plugins_are_plain_data(path: Path) -> None:
    text = 'plugins:\n  p:\n    a: [1, "x", 1.5, true, null]\n    b: {c: |\n      text\n      }\n    d: 2020-01-01\n'
    section = written(path, text.replace("{c: |\n      text\n      }", "{c: 'text'}")).load().plugins["p"]
    assert section == {"a": [1, "x", 1.5, True, None], "b": {"c": "text"}, "d": "2020-01-01"}
    assert [type(each) for each in section["a"]] == [int, str, float, bool, type(None)]


def test_anchors_and_merges_are_understood(path: Path) -> None:
    text = "plugins:\n  a: &a {x: 1}\n  b:\n    <<: *a\n    y: 2\n"
    file = written(path, text)
    assert file.load().plugins["b"] == {"x": 1, "y": 2}
    file.unset("plugins.b.x")
    assert path.read_text(encoding="utf-8") == text
    file.set("plugins.b.x", "3")
    assert file.load().plugins == {"a": {"x": 1}, "b": {"x": 3, "y": 2}}


WRONG = {
    "runtme: x\n": ("runtme is not a known setting", 1, "Did you mean runtime?"),
    "# c\n\nsecrets:\n  provder: x\n": ("secrets.provder is not a known setting", 4, "Did you mean secrets.provider?"),
    "zzz: 1\n": ("zzz is not a known setting", 1, "Known settings: ca_certificate_path,"),
    "\nstart_timeout: fast\n": ("start_timeout must be a number, not text", 2, "thv config set start_timeout 60"),
    "start_timeout: 0\n": ("start_timeout must be more than 0", 1, "thv config set start_timeout 60"),
    "request_timeout: -1\n": ("request_timeout must be more than 0", 1, "thv config set request_timeout 300"),
    "health:\n  interval: 0.01\n": ("health.interval must be at least 0.1", 2, "thv config set health.interval 10"),
    "health:\n  timeout: 9999\n": ("health.timeout must be at most 3600", 2, "thv config set health.timeout 5"),
    "health:\n  failures: 0\n": ("health.failures must be at least 1", 2, "thv config set health.failures 5"),
    "health:\n  failures: 2.5\n": ("health.failures must be a whole number", 2, "thv config set health.failures 5"),
    "health:\n  intreval: 1\n": ("health.intreval is not a known setting", 2, "Did you mean health.interval?"),
    "health: 3\n": ("health must be a mapping", 1, "thv config set health."),
    "runtime: 3\n": ("runtime must be text, not a whole number", 1, "thv config set runtime sandbox"),
    "runtime: x\nsecrets: x\n": (
        "secrets must be a mapping of keys to values, not text",
        2,
        "thv config set secrets.provider",
    ),
    "\nca_certificate_path: ca.pem\n": (
        "ca_certificate_path must be an absolute path",
        2,
        "thv config set ca_certificate_path /etc/company/ca.pem",
    ),
    "disabled: x\n": ("disabled must be a list, not text", 1, "thv config set disabled NAME,NAME"),
    "disabled:\n- a\n- 1\n": ("disabled[1] must be text, not a whole number", 1, "thv config set disabled NAME,NAME"),
    "secrets:\n  provider: [x]\n": (
        "secrets.provider must be text, not a list",
        2,
        "thv config set secrets.provider NAME",
    ),
    "plugins: 3\n": ("plugins must be a mapping of plugin names", 1, "thv config set plugins.NAME.KEY VALUE"),
    "plugins:\n  a: {}\n  x: 1\n": (
        "plugins.x must be a mapping of settings",
        3,
        "thv config set plugins.NAME.KEY VALUE",
    ),
    "a: [\n": ("is not YAML", 2, ""),
    "a: 1\na: 2\n": ("found duplicate key", 2, ""),
    "x:\n\ty: 1\n": ("is not YAML", 2, ""),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named_with_its_key_path_and_line(path: Path, text: str) -> None:
    message, line, hint = WRONG[text]
    with pytest.raises(SettingsError) as caught:
        written(path, text).load()
    assert message in caught.value.message
    assert f"line {line})" in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("text", ["- x\n", "just text\n", "3\n"])
def test_a_file_that_is_no_mapping_is_named(path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="is not a mapping"):
        written(path, text).load()


def test_a_file_that_is_not_utf_8_is_named(path: Path) -> None:
    path.write_bytes(b"runtime: \xff\n")
    with pytest.raises(SettingsError, match="is not YAML"):
        ConfigurationFile(path).load()


def test_a_file_that_contains_itself_ends(path: Path) -> None:
    assert written(path, "plugins:\n  a: &a\n    x: *a\n").load().plugins == {"a": {"x": None}}


def test_a_file_that_is_nested_without_end_is_named(path: Path) -> None:
    with pytest.raises(SettingsError, match="is not YAML"):
        written(path, "plugins: " + "[" * 1000).load()


def test_a_byte_order_mark_is_no_part_of_a_key(path: Path) -> None:
    assert written(path, "\ufeffruntime: docker\n").load().runtime == "docker"


def test_no_tag_constructs_an_object(path: Path) -> None:
    text = "plugins:\n  p:\n    x: !!python/object/apply:os.getcwd []\n"
    assert written(path, text).load().plugins["p"]["x"] in ([], "")


def test_get_returns_what_is_set_and_defaults(path: Path) -> None:
    file = written(path, COMMENTED)
    got = {key: file.get(key) for key in ("runtime", "secrets.provider", "plugins.vault.retries", "start_timeout")}
    assert got == {
        "runtime": "sandbox",
        "secrets.provider": "environment",
        "plugins.vault.retries": 31,
        "start_timeout": 60.0,
    }
    assert file.get("disabled") in (["noisy", "odd"], ("noisy", "odd"))
    assert file.get("plugins.vault.absent") is None
    assert file.get("plugins.other.absent.deeper") is None
    assert file.get("plugins.vault.address.deeper") is None


@pytest.mark.parametrize(
    "key",
    ["runtme", "health", "health.x", "secrets", "secrets.x", "plugins", "plugins.x", "plugins..x", "plugins.x.", ""],
)
def test_a_key_path_that_names_no_setting_is_refused_everywhere(file: ConfigurationFile, path: Path, key: str) -> None:
    for call in (file.get, file.unset, lambda each: file.set(each, "x")):
        with pytest.raises(SettingsError, match="is not a known setting"):
            call(key)
    assert not path.exists()


def test_the_nearest_key_is_named(file: ConfigurationFile) -> None:
    with pytest.raises(SettingsError) as caught:
        file.set("start_timout", "5")
    assert caught.value.hint == "Did you mean start_timeout?"


def test_setting_changes_one_value_and_no_other_byte(path: Path) -> None:
    written(path, COMMENTED).set("runtime", "docker")
    assert path.read_text(encoding="utf-8") == COMMENTED.replace('"sandbox"', "docker")


SETTINGS = {
    "runtime": ("podman", "podman"),
    "gateway": ("8", "8"),
    "gateway_shared_port": ("19000", 19000),
    "gateway_workers": ("4", 4),
    "secrets.provider": ("vault", "vault"),
    "start_timeout": ("90", 90.0),
    "request_timeout": ("0.5", 0.5),
    "health.interval": ("2.5", 2.5),
    "health.timeout": ("1", 1.0),
    "health.failures": ("3", 3),
    "disabled": ("noisy, x,", ["noisy", "x"]),
    "plugins.vault.retries": ("4", 4),
    "plugins.vault.name": ("text: no", None),
    "plugins.new.flag": ("true", True),
    "plugins.new.list": ("[1, a]", [1, "a"]),
    "plugins.new.text": ('"4"', "4"),
    "plugins.new.deep.er": ("x", "x"),
}


@pytest.mark.parametrize("start", [COMMENTED, "", "# only\n# comments\n", "{}\n", "---\nruntime: x\n"])
@pytest.mark.parametrize("key", [each for each, (_, value) in SETTINGS.items() if value is not None])
def test_a_value_is_parsed_by_the_type_of_its_key_and_every_comment_survives(path: Path, start: str, key: str) -> None:
    text, value = SETTINGS[key]
    file = written(path, start)
    before = file.load()
    file.set(key, text)
    got = file.get(key)
    assert (list(got) if isinstance(got, tuple) else got) == value
    after = path.read_text(encoding="utf-8")
    assert [line for line in start.splitlines() if line.startswith("#")] == [
        line for line in after.splitlines() if line.startswith("#")
    ]
    file.unset(key)
    if key not in ("runtime", "secrets.provider", "disabled", "plugins.vault.retries"):
        assert file.load() == before


def test_yaml_that_is_a_mapping_is_a_value_of_a_plugin(file: ConfigurationFile) -> None:
    file.set("plugins.p.map", "{a: 1}")
    assert file.get("plugins.p.map") == {"a": 1}


BAD_TEXT = {
    "start_timeout": "soon",
    "request_timeout": "-3",
    "plugins.p.x": "[1",
    "health.failures": "2.5",
    "health.interval": "0",
    "health.timeout": "soon",
    "disabled": None,
}


@pytest.mark.parametrize("key", [key for key, text in BAD_TEXT.items() if text])
def test_a_text_that_is_no_value_is_refused_and_nothing_is_written(path: Path, key: str) -> None:
    file = written(path, COMMENTED)
    with pytest.raises(SettingsError, match=key):
        file.set(key, str(BAD_TEXT[key]))
    assert path.read_text(encoding="utf-8") == COMMENTED


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "0"])
def test_a_timeout_is_a_finite_positive_number(file: ConfigurationFile, path: Path, number: str) -> None:
    with pytest.raises(SettingsError, match="start_timeout"):
        file.set("start_timeout", number)
    assert not path.exists()


UNUSUAL = """\
runtime:   docker        # spaces
"gateway" : 'http'
start_timeout: 10 #  seconds
plugins: { a: {b: 1},   c: {d: "x # y"} } # flow
disabled: [ a,b ]
"""


@pytest.mark.parametrize(
    ("key", "value", "before", "after"),
    [
        ("runtime", "podman", "docker  ", "podman  "),
        ("gateway", "mine", "'http'", "mine"),
        ("gateway", "a: b #c", "'http'", "'a: b #c'"),
        ("start_timeout", "20", "10 #", "20 #"),
    ],
)
def test_an_unusual_style_survives_a_new_value(path: Path, key: str, value: str, before: str, after: str) -> None:
    written(path, UNUSUAL).set(key, value)
    assert path.read_text(encoding="utf-8") == UNUSUAL.replace(before, after)


@pytest.mark.parametrize("key", ["plugins.a.b", "plugins.c.d", "disabled"])
def test_a_value_within_a_flow_is_set_too(path: Path, key: str) -> None:
    file = written(path, UNUSUAL)
    file.set(key, "new")
    assert file.get(key) in ("new", ("new",), ["new"])
    assert "# flow" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        ("noisy", "    - noisy   # too much\n"),
        ("odd,more", '    - "odd"\n    - more\n'),
        ("noisy,odd,a,b", '    - noisy   # too much\n    - "odd"\n    - a\n    - b\n'),
    ],
)
def test_a_list_is_amended_line_by_line(path: Path, names: str, lines: str) -> None:
    written(path, COMMENTED).set("disabled", names)
    assert path.read_text(encoding="utf-8") == COMMENTED.replace('    - noisy   # too much\n    - "odd"\n', lines)


def test_a_list_is_emptied(path: Path) -> None:
    file = written(path, COMMENTED)
    file.set("disabled", "")
    assert file.load().disabled == ()


@pytest.mark.parametrize("text", ["plugins:\n  p:\n    k: |\n      # no comment\n      text\n# c\nruntime: x\n"])
def test_a_block_of_text_is_replaced_whole(path: Path, text: str) -> None:
    file = written(path, text)
    file.set("plugins.p.k", "short")
    assert (file.get("plugins.p.k"), file.load().runtime) == ("short", "x")


def test_a_new_setting_of_a_section_is_written_at_its_end_and_before_the_next_comment(path: Path) -> None:
    written(path, COMMENTED).set("plugins.vault.mount", "kv")
    assert path.read_text(encoding="utf-8") == COMMENTED.replace("0x1F\n", "0x1F\n        mount: kv\n")


def test_a_new_section_is_written_at_the_end(path: Path) -> None:
    written(path, COMMENTED).set("start_timeout", "5")
    assert path.read_text(encoding="utf-8") == COMMENTED + "start_timeout: 5\n"


def test_the_items_of_a_list_that_stay_keep_their_comments(path: Path) -> None:
    written(path, COMMENTED).set("disabled", "noisy,new")
    assert "    - noisy   # too much\n    - new\n" in path.read_text(encoding="utf-8")


def test_a_reordered_list_is_as_it_was_asked_for(path: Path) -> None:
    file = written(path, COMMENTED)
    file.set("disabled", "odd,noisy")
    assert file.load().disabled == ("odd", "noisy")


def test_unsetting_removes_the_lines_of_the_setting_alone(path: Path) -> None:
    file = written(path, COMMENTED)
    file.unset("secrets.provider")
    assert path.read_text(encoding="utf-8") == COMMENTED.replace("secrets:\n    provider: 'environment'\n", "")
    file.unset("disabled")
    assert "# Not these:\n# the end\n" in path.read_text(encoding="utf-8")


def test_unsetting_one_of_several_keeps_the_section(path: Path) -> None:
    file = written(path, COMMENTED)
    file.unset("plugins.vault.address")
    assert file.load().plugins == {"vault": {"retries": 31}}


def test_unsetting_what_is_not_set_changes_nothing(path: Path) -> None:
    file = written(path, COMMENTED)
    for key in ("gateway", "plugins.other.x", "plugins.vault.address.x"):
        file.unset(key)
    assert path.read_text(encoding="utf-8") == COMMENTED


def test_an_unknown_key_in_the_file_can_be_unset(path: Path) -> None:
    file = written(path, "runtme: x\ngateway: y\n")
    file.unset("runtme")
    assert path.read_text(encoding="utf-8") == "gateway: y\n"


def test_a_list_of_a_plugin_is_replaced_by_another_value_and_the_next_comment_stays(path: Path) -> None:
    text = "plugins:\n  p:\n    k:\n      - a\n      - b\n    # next\n    l: 1\n"
    file = written(path, text)
    file.set("plugins.p.k", "c")
    assert path.read_text(encoding="utf-8") == "plugins:\n  p:\n    k: c\n    # next\n    l: 1\n"


def test_flow_style_is_edited_too(path: Path) -> None:
    file = written(path, "plugins: {a: {b: 1}, c: {d: 2}}\n")
    file.unset("plugins.a.b")
    file.set("plugins.c.e", "x")
    assert file.load().plugins == {"c": {"d": 2, "e": "x"}}


def test_line_ends_of_windows_stay(path: Path) -> None:
    file = written(path, "# c\r\nruntime: x\r\n")
    file.set("plugins.a.b", "1")
    file.set("runtime", "y")
    assert path.read_bytes() == b"# c\r\nruntime: y\r\nplugins:\r\n  a:\r\n    b: 1\r\n"


def test_a_last_line_without_an_end_is_completed(path: Path) -> None:
    written(path, "plugins:\n  a:\n    b: 1").set("plugins.a.c", "2")
    assert path.read_text(encoding="utf-8") == "plugins:\n  a:\n    b: 1\n    c: 2\n"


def test_long_values_are_not_folded(file: ConfigurationFile, path: Path) -> None:
    file.set("plugins.a.text", "word " * 100 + "end")
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3


def test_a_new_file_is_private_and_its_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.yaml"
    ConfigurationFile(path).set("runtime", "docker")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_a_link(tmp_path: Path, path: Path, exists: bool) -> None:
    target = tmp_path / "dotfiles.yaml"
    if exists:
        target.write_text("gateway: x\n", encoding="utf-8")
    path.symlink_to("dotfiles.yaml")
    ConfigurationFile(path).set("runtime", "docker")
    assert path.is_symlink()
    assert "runtime: docker" in target.read_text(encoding="utf-8")


def test_edits_at_the_same_time_are_all_kept(path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: ConfigurationFile(path).set(f"plugins.p.k{number}", str(number)), range(12)))
    assert ConfigurationFile(path).load().plugins["p"] == {f"k{number}": number for number in range(12)}


def test_reading_needs_no_lock(path: Path) -> None:
    file = written(path, COMMENTED)
    with locked(path.with_name("config.yaml.lock"), 1):
        assert file.load().runtime == "sandbox"


def test_keys_name_every_setting(file: ConfigurationFile) -> None:
    keys = file.keys()
    assert {key.split(".")[0] for key in keys} == set(Configuration.__struct_fields__)
    assert "plugins.NAME.KEY" in keys


def test_without_a_file_ruamel_is_not_imported(path: Path) -> None:
    code = (
        "import sys, pathlib; from thv_core.state.configuration import ConfigurationFile;"
        "ConfigurationFile(pathlib.Path(sys.argv[1])).load(); print('ruamel.yaml' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    assert output.stdout == "False\n"
    assert list(path.parent.iterdir()) == []
