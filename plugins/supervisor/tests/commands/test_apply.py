"""``thv apply`` and ``thv diff``, against a control that keeps workloads in a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from thv_core.errors import InvalidDocument, NotFound, RolledBack, StartFailed, ThvError
from thv_core.model.run_config import RunConfig
from thv_supervisor import client
from thv_supervisor.commands.apply import apply, diff

PREFIX = "/api/v1beta"


class Control:
    """Workloads and groups; a start pins the image and takes a port, and those in ``fails`` do not become ready."""

    def __init__(self) -> None:
        self.configs: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, str] = {}
        self.groups = ["default"]
        self.fails: dict[str, BaseException] = {}
        self.written: list[tuple[str, str, Any]] = []

    def __call__(self, environment: object, message: object) -> Control:
        return self

    def call(self, method: str, path: str, limit: float = 30.0, body: Any = None) -> Any:
        words = path.removeprefix(f"{PREFIX}/").partition("?")[0].split("/")
        if method != "GET":
            self.written.append((method, path.removeprefix(PREFIX), body))
        return _OPERATIONS[method, words[0], len(words)](self, words, body)

    def listed(self, words: list[str], body: Any) -> Any:
        return {"workloads": [{"name": name, "status": self.statuses[name]} for name in self.configs]}

    def grouped(self, words: list[str], body: Any) -> Any:
        return {"groups": [{"name": name} for name in self.groups]}

    def make_group(self, words: list[str], body: Any) -> Any:
        self.groups.append(body["name"])
        return body

    def exported(self, words: list[str], body: Any) -> Any:
        if words[1] not in self.configs:
            raise NotFound(f"there is no workload named {words[1]}")
        if words[2] == "status":
            return {"status": self.statuses[words[1]]}
        return self.configs[words[1]]

    def removed(self, words: list[str], body: Any) -> Any:
        del self.configs[words[1]]

    def abandoned(self, words: list[str], body: Any) -> Any:
        return {"removed": []}

    def story(self, method: str, path: str, body: Any = None) -> Iterator[dict[str, Any]]:
        self.written.append((method, path.removeprefix(PREFIX), body))
        name = body["run_config"]["name"] if body else path.split("/")[-2]
        yield {"progress": {"step": "prepared", "text": "3 packages", "seconds": 0.1, "done": True}}
        if name in self.fails:
            raise self.fails[name]
        before = self.configs.get(name)
        if body:
            status = self.statuses.get(name, "running")
            self.keep(**body["run_config"])
        if body and before and without_labels(before) == without_labels(self.configs[name]):
            self.statuses[name] = status
            yield {"ready": {"name": name}}
            return
        if body and body["replaces"]:
            yield {"progress": {"step": "swapped", "text": "no call was interrupted", "seconds": 0.1, "done": True}}
        self.statuses[name] = "running"
        yield {"ready": {"name": name}}

    def keep(self, name: str, image: str, **more: Any) -> None:
        pinned = image if "@" in image.removeprefix("npx://@") else f"{image}@1.0"
        chosen = {"port": 19001 + len(self.configs), "runtime": "sandbox", **{k: v for k, v in more.items() if v}}
        config = msgspec.convert({"name": name, "image": pinned, **chosen}, RunConfig)
        self.configs[name] = msgspec.to_builtins(config)
        self.statuses[name] = "running"

    def runs(self) -> list[tuple[str, str]]:
        """Return the name, and what it replaces, of each run that was asked for."""
        return [(body["run_config"]["name"], body["replaces"]) for _, path, body in self.written if path == "/runs"]


def without_labels(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "container_labels"}


_OPERATIONS = {
    ("GET", "workloads", 1): Control.listed,
    ("GET", "groups", 1): Control.grouped,
    ("POST", "groups", 1): Control.make_group,
    ("GET", "workloads", 3): Control.exported,
    ("DELETE", "workloads", 2): Control.removed,
    ("DELETE", "runs", 2): Control.abandoned,
}


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    control = Control()
    monkeypatch.setattr(client, "ControlClient", control)
    return control


@pytest.fixture
def team(tmp_path: Path) -> Path:
    file = tmp_path / "team.yaml"
    file.write_text(
        "groups: [search]\nworkloads:\n"
        "- image: uvx://mcp-server-time\n"
        "- {name: fetch, image: 'uvx://mcp-server-fetch', group: search}\n"
    )
    return file


def run(console: Any, command: click.Command, *arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments, obj=console)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def ended(console: Any) -> list[tuple[str, str]]:
    """Return the steps that were told as done."""
    return [(word, text) for word, text, done in console.steps if done]


# What happens ---------------------------------------------------------------------------------------------------------


def test_a_stopped_one_whose_labels_change_runs_too_so_that_applying_again_changes_nothing(
    control: Any, console: Any, tmp_path: Path
) -> None:
    (tmp_path / "m.yaml").write_text("image: uvx://mcp-server-time\n")
    run(console, apply, "-f", "m.yaml")
    (tmp_path / "m.yaml").write_text("image: uvx://mcp-server-time\ncontainer_labels: {team: search}\n")
    control.statuses["time"] = "stopped"
    run(console, apply, "-f", "m.yaml")
    assert (control.statuses["time"], ended(console)[-1]) == ("running", ("time", "changed, and started again"))
    control.written.clear()
    run(console, apply, "-f", "m.yaml")
    assert (control.written, ended(console)[-1]) == ([], ("time", "unchanged"))


def test_new_workloads_and_groups_are_made_in_the_order_of_the_manifest(control: Any, console: Any, team: Path) -> None:
    run(console, apply, "-f", "team.yaml")
    assert [(method, path) for method, path, _ in control.written] == [
        ("POST", "/groups"),
        ("POST", "/runs"),
        ("POST", "/runs"),
    ]
    assert control.runs() == [("time", ""), ("fetch", "")]
    assert ended(console) == [("group search", "made"), ("time", "ready"), ("fetch", "ready")]


@pytest.mark.parametrize("command", [apply, diff])
def test_a_manifest_that_names_nothing_is_said_to_do_nothing(
    control: Any, console: Any, team: Path, command: Any
) -> None:
    team.write_text("workloads: []\n")
    run(console, command, "-f", "team.yaml")
    assert console.messages == ["there is nothing to do: no workload is named"]
    assert control.written == []


def test_a_second_application_says_unchanged_and_writes_nothing(control: Any, console: Any, team: Path) -> None:
    many = "".join(f"- {{name: w{place}, image: 'uvx://w'}}\n" for place in range(20))
    team.write_text(many)
    run(console, apply, "-f", "team.yaml")
    control.written.clear()
    console.steps.clear()
    run(console, apply, "-f", "team.yaml")
    assert control.written == []
    assert ended(console) == [(f"w{place}", "unchanged") for place in range(20)]


def test_a_changed_workload_replaces_its_former_self(control: Any, console: Any, team: Path) -> None:
    run(console, apply, "-f", "team.yaml")
    console.steps.clear()
    team.write_text(team.read_text().replace("group: search", "group: search, cmd_args: [--fast]"))
    run(console, apply, "-f", "team.yaml")
    assert control.runs()[2:] == [("fetch", "fetch")]
    assert ended(console) == [("time", "unchanged"), ("fetch", "swapped, no call was interrupted")]


def test_what_another_life_was_not_needed_for_is_changed_only(
    control: Any, console: Any, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(console, apply, "-f", "team.yaml")
    console.steps.clear()
    monkeypatch.setattr(control, "story", lambda *_: iter([{"ready": {}}]))
    team.write_text(team.read_text().replace("group: search", "group: default"))
    run(console, apply, "-f", "team.yaml")
    assert ended(console)[-1] == ("fetch", "changed")


@pytest.mark.parametrize("status", ["stopped", "stopping", "error"])
def test_one_that_should_run_and_does_not_is_started_again(control: Any, console: Any, team: Path, status: str) -> None:
    run(console, apply, "-f", "team.yaml")
    control.written.clear()
    control.statuses["time"] = status
    run(console, diff, "-f", "team.yaml")
    assert console.lines[0] == "  > time       stopped, starts again"
    run(console, apply, "-f", "team.yaml")
    assert control.written == [("POST", "/workloads/time/restart", None)]
    assert ended(console)[-2:] == [("time", "started again"), ("fetch", "unchanged")]


def test_pruning_removes_what_is_in_the_groups_of_the_manifest_and_not_in_it(
    control: Any, console: Any, team: Path
) -> None:
    run(console, apply, "-f", "team.yaml")
    control.groups.append("other")
    control.keep("stray", "uvx://stray", group="search")
    control.keep("foreign", "uvx://foreign", group="other")
    control.written.clear()
    run(console, apply, "-f", "team.yaml")
    assert control.written == []
    run(console, apply, "-f", "team.yaml", "--prune")
    assert control.written == [("DELETE", "/workloads/stray?wait=true", None)]
    assert ended(console)[-1] == ("stray", "removed")
    assert "foreign" in control.configs


def test_a_manifest_that_is_wrong_does_nothing_at_all(control: Any, console: Any, team: Path) -> None:
    team.write_text(team.read_text() + "- {name: last, image: 'uvx://x', volumes: ['./missing:/m']}\n")
    with pytest.raises(ThvError, match="line 5"):
        run(console, apply, "-f", "team.yaml")
    team.write_text("- {image: 'uvx://x', group: nobodys}\n")
    with pytest.raises(NotFound, match="nobodys"):
        run(console, apply, "-f", "team.yaml")
    assert control.written == []


def test_a_workload_that_goes_while_it_is_looked_at_is_made_anew(
    control: Any, console: Any, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(console, apply, "-f", "team.yaml")
    views = {"workloads": [{"name": "time", "status": "running"}, {"name": "fetch", "status": "running"}]}
    monkeypatch.setattr(Control, "listed", lambda *_: views)
    monkeypatch.setitem(_OPERATIONS, ("GET", "workloads", 1), lambda *_: views)
    del control.configs["fetch"]
    run(console, apply, "-f", "team.yaml")
    assert control.runs()[2:] == [("fetch", "")]


# Values of the shell --------------------------------------------------------------------------------------------------


def test_values_of_the_shell_and_how_it_reaches_the_network_go_along(control: Any, console: Any, team: Path) -> None:
    team.write_text("- {name: x, image: 'uvx://x', secrets: ['env:TOKEN,target=T']}\n")
    console.environment |= {"TOKEN": "hush", "HTTPS_PROXY": "http://proxy"}
    run(console, apply, "-f", "team.yaml")
    body = control.written[0][2]
    assert body["shell_values"] == {"env:TOKEN": "hush"}
    assert body["network"] == {"HTTPS_PROXY": "http://proxy"}
    assert "hush" not in json.dumps(body["run_config"])


def test_a_value_that_the_shell_lacks_fails_its_workload_only_when_it_is_needed(
    control: Any, console: Any, team: Path
) -> None:
    team.write_text("- {name: x, image: 'uvx://x', secrets: ['env:TOKEN,target=T']}\n- image: uvx://mcp-server-time\n")
    with pytest.raises(ThvError, match="1 of 2 was not applied") as failed:
        run(console, apply, "-f", "team.yaml")
    assert "x: TOKEN is not set in this shell" in list(failed.value.evidence)
    assert ended(console) == [("time", "ready")]
    control.keep("x", "uvx://x", secrets=["env:TOKEN,target=T"])
    run(console, apply, "-f", "team.yaml")


# Failures -------------------------------------------------------------------------------------------------------------


def test_one_that_fails_is_told_with_its_reason_and_the_others_go_on(control: Any, console: Any, team: Path) -> None:
    run(console, apply, "-f", "team.yaml")
    console.steps.clear()
    team.write_text(team.read_text().replace("mcp-server-time", "mcp-server-time@2").replace("fetch'", "fetch@2'"))
    control.fails["time"] = RolledBack("time runs as before", evidence=["it exited with code 1"], hint="thv logs time")
    with pytest.raises(ThvError, match="1 of 2 was not applied") as failed:
        run(console, apply, "-f", "team.yaml")
    assert console.messages == ["  time       rolled back: it exited with code 1"]
    assert ended(console) == [("fetch", "swapped, no call was interrupted")]
    assert list(failed.value.evidence)[:2] == ["time: time runs as before", "    it exited with code 1"]


def test_a_configuration_that_this_version_cannot_read_is_an_error_for_people(
    control: Any, console: Any, team: Path
) -> None:
    control.keep("time", "uvx://mcp-server-time")
    control.configs["time"]["of_a_later_version"] = True
    with pytest.raises(InvalidDocument, match="time"):
        run(console, apply, "-f", "team.yaml")


def test_a_new_one_that_does_not_start_says_why(control: Any, console: Any, team: Path) -> None:
    control.fails["fetch"] = StartFailed("fetch exited with code 1 before it answered")
    with pytest.raises(ThvError, match="1 of 2"):
        run(console, apply, "-f", "team.yaml")
    assert console.messages == ["  fetch      failed: fetch exited with code 1 before it answered"]


def test_an_interrupt_abandons_what_is_under_way_and_says_what_was_done_and_what_not(
    control: Any, console: Any, team: Path
) -> None:
    team.write_text(team.read_text() + "- {name: last, image: 'uvx://x'}\n")
    control.fails["fetch"] = KeyboardInterrupt()
    assert run(console, apply, "-f", "team.yaml").exit_code == 1
    (request,) = [body["request_id"] for _, path, body in control.written if path == "/runs"][1:]
    assert control.written[-1] == ("DELETE", f"/runs/{request}", None)
    assert console.messages == ["interrupted: fetch is as it was", "applied: time; not begun: last"]


def test_an_interrupt_that_comes_too_late_says_so(
    control: Any, console: Any, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(console, apply, "-f", "team.yaml")
    team.write_text(team.read_text().replace("group: search", "group: search, cmd_args: [--fast]"))

    def too_late(method: str, path: str, body: Any) -> Any:
        control.configs["fetch"] = body["run_config"]
        raise KeyboardInterrupt

    monkeypatch.setattr(control, "story", too_late)
    assert run(console, apply, "-f", "team.yaml").exit_code == 1
    assert console.messages[0] == "interrupted: fetch has changed already"


def test_an_interrupt_of_what_cannot_be_taken_back_says_that_it_goes_on(control: Any, console: Any, team: Path) -> None:
    run(console, apply, "-f", "team.yaml")
    control.statuses["fetch"] = "stopped"
    control.fails["fetch"] = KeyboardInterrupt()
    assert run(console, apply, "-f", "team.yaml").exit_code == 1
    assert console.messages == [
        "interrupted: what was asked of fetch goes on; see  thv list --all",
        "applied: nothing; not begun: nothing",
    ]


def test_json_has_one_entry_for_each_workload_also_when_one_fails(control: Any, console: Any, team: Path) -> None:
    control.fails["fetch"] = StartFailed("it exited")
    with pytest.raises(ThvError):
        run(console, apply, "-f", "team.yaml", "--format", "json")
    (document,) = json.loads(json.dumps(console.documents))
    assert document["groups"] == ["search"]
    time, fetch = document["workloads"]
    assert (time["name"], time["kind"], time["result"], time["ok"]) == ("time", "new", "ready", True)
    assert (fetch["ok"], fetch["error"]["code"]) == (False, "start-failed")
    assert ended(console) == []


# What would happen ----------------------------------------------------------------------------------------------------


@pytest.fixture
def edited(control: Any, console: Any, team: Path) -> None:
    """Three workloads, of which one is to be changed, one stays and one is not in the manifest; a fourth is new."""
    run(console, apply, "-f", "team.yaml")
    control.keep("stray", "uvx://stray", group="search")
    team.write_text(
        team.read_text().replace("group: search", "group: search, cmd_args: [--fast], volumes: ['/tmp:/t:ro']")
        + "- {name: github, image: 'npx://github', group: extra}\n"
    )
    team.write_text(team.read_text().replace("[search]", "[search, extra]"))
    control.written.clear()
    console.lines.clear()


SHOWN = [
    "  + group extra",
    "  = time       unchanged",
    "  ~ fetch      cmd_args: --fast",
    "               volumes: + /tmp:/t:ro",
    "  + github     new",
    "  - stray      removed",
]


@pytest.mark.usefixtures("edited")
def test_a_difference_is_shown_line_by_line_and_nothing_is_written(control: Any, console: Any) -> None:
    assert run(console, diff, "-f", "team.yaml", "--prune").exit_code == 0
    assert console.lines == SHOWN
    assert control.written == []


@pytest.mark.usefixtures("edited")
def test_a_dry_run_shows_the_same(control: Any, console: Any) -> None:
    assert run(console, apply, "-f", "team.yaml", "--prune", "--dry-run").exit_code == 0
    assert console.lines == SHOWN
    assert control.written == []


def test_the_exit_code_tells_of_a_difference_only_when_it_is_asked_for(control: Any, console: Any, team: Path) -> None:
    assert run(console, diff, "-f", "team.yaml").exit_code == 0
    assert run(console, diff, "-f", "team.yaml", "--exit-code").exit_code == 1
    run(console, apply, "-f", "team.yaml")
    assert run(console, diff, "-f", "team.yaml", "--exit-code").exit_code == 0
    control.statuses["time"] = "stopped"
    assert run(console, diff, "-f", "team.yaml", "--exit-code").exit_code == 1


@pytest.mark.usefixtures("edited")
def test_a_difference_as_json_names_each_kind(console: Any) -> None:
    run(console, diff, "-f", "team.yaml", "--prune", "--format", "json")
    (document,) = json.loads(json.dumps(console.documents))
    assert document["groups"] == ["extra"]
    assert {each["name"]: each["kind"] for each in document["workloads"]} == {
        "time": "unchanged",
        "fetch": "changed",
        "github": "new",
        "stray": "removed",
    }


@pytest.mark.parametrize("command", [apply, diff])
def test_a_manifest_must_be_named(console: Any, command: click.Command) -> None:
    assert run(console, command).exit_code == 2
