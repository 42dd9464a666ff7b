"""Whether this control is the right one for a caller, and how it is replaced when it is not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thv_core.errors import InvalidRequest, NotReady, SettingsError
from thv_core.state.configuration import ConfigurationFile
from thv_supervisor.control import settling
from thv_supervisor.control.ground import ShellValues
from thv_supervisor.control.settling import Settlement
from thv_supervisor.control.succession import Handover
from thv_supervisor.installations import Installation
from thv_supervisor.network_variables import network_variables

OWN = Installation(prefix=sys.prefix, interpreter=sys.executable, version="0.5.0", fingerprint="own")


class Watch:
    """What a settlement would have done to this process and its parent."""

    def __init__(self) -> None:
        self.successions: list[tuple[str, int, Handover]] = []
        self.environments: list[dict[str, str]] = []
        self.failure: OSError | None = None
        self.signals: list[tuple[int, int]] = []

    def succeed(self, interpreter: str, lifeline: int, handover: Handover, environment: Mapping[str, str]) -> None:
        self.successions.append((interpreter, lifeline, handover))
        self.environments.append(dict(environment))
        if self.failure:
            raise self.failure

    def kill(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(settling, "succeed", watch.succeed)
    monkeypatch.setattr(settling.os, "kill", watch.kill)
    return watch


@pytest.fixture
def settlement(rig: Any) -> Settlement:
    rig.configuration = ConfigurationFile(rig.paths.config_file).load()
    return Settlement(OWN, rig.kernel(), 17, ShellValues({"echo": {"env:T": "v4lue"}}))


async def reached(watch: Watch) -> None:
    """Wait until the replacement was made."""
    for _ in range(500):
        if watch.successions:
            return
        await asyncio.sleep(0.01)
    pytest.fail("it was not replaced")


def settled(settlement: Settlement, watch: Watch, header: str | None, replaced: bool) -> str:
    """Settle on an event loop, wait for the replacement if there is to be one, and return the notice or the reason."""

    async def once() -> str:
        said = ""
        try:
            said = settlement.settle(header)
        except NotReady as error:
            said = error.message
        assert watch.successions == []
        if replaced:
            await reached(watch)
        else:
            await asyncio.sleep(settling.PAUSE * 2)
        return said

    said = asyncio.run(once())
    assert bool(watch.successions) is replaced
    return said


def caller(**changes: str) -> str:
    return Installation(
        **(
            {"prefix": OWN.prefix, "interpreter": OWN.interpreter, "version": OWN.version, "fingerprint": "own"}
            | changes
        )
    ).header()


def test_the_same_installation_and_a_nameless_caller_are_served(settlement: Settlement, watch: Watch) -> None:
    assert settled(settlement, watch, caller(), replaced=False) == ""
    assert settled(settlement, watch, None, replaced=False) == ""
    assert watch.signals == []


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fingerprint of what is on disk now."""
    fingerprints = ["own"]

    def present() -> Installation:
        return replace(OWN, fingerprint=fingerprints[-1])

    monkeypatch.setattr(settling, "installation", present)
    return fingerprints


def test_changed_plugins_renew_control_and_gateway_with_what_is_in_memory(
    settlement: Settlement, watch: Watch, installed: list[str]
) -> None:
    installed.append("other")
    said = settled(settlement, watch, caller(fingerprint="other"), replaced=True)
    assert said == "the installed plugins changed: control starts again"
    assert watch.successions == [(sys.executable, 17, Handover({"echo": {"env:T": "v4lue"}}, renew_gateway=True))]
    assert watch.signals == []
    assert "v4lue" not in repr(watch.successions)
    assert watch.environments == [dict(os.environ)]


def test_a_caller_that_started_before_plugins_changed_renews_nothing(
    settlement: Settlement, watch: Watch, installed: list[str]
) -> None:
    assert settled(settlement, watch, caller(fingerprint="former"), replaced=False) == ""


def test_while_it_is_being_replaced_nobody_is_served(
    settlement: Settlement, watch: Watch, installed: list[str]
) -> None:
    installed.append("other")

    async def once() -> None:
        with pytest.raises(NotReady, match="plugins changed"):
            settlement.settle(caller(fingerprint="other"))
        for header in (caller(), None, "malformed"):
            with pytest.raises(NotReady, match="control starts again"):
                settlement.settle(header)
        await reached(watch)

    asyncio.run(once())
    assert len(watch.successions) == 1


def test_a_replacement_that_fails_lets_this_process_go_on(
    settlement: Settlement, watch: Watch, installed: list[str]
) -> None:
    watch.failure = OSError("no such interpreter")
    reported: list[object] = []

    async def once() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        with pytest.raises(NotReady):
            settlement.adopt_network({"UV_OFFLINE": "1"})
        await reached(watch)

    asyncio.run(once())
    assert reported == [watch.failure]
    assert settled(settlement, Watch(), caller(), replaced=False) == ""


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What this process knows of the network."""
    for name in network_variables(os.environ):
        monkeypatch.delenv(name)
    variables = {"UV_INDEX_URL": "https://packages.example", "https_proxy": "http://proxy.example"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UNRELATED", "kept")
    return variables


def test_the_network_of_a_caller_is_adopted_by_a_successor(
    settlement: Settlement, watch: Watch, proxied: dict[str, str]
) -> None:
    wanted = {"UV_INDEX_URL": "https://other.example", "SSL_CERT_FILE": "/certificates"}

    async def once() -> None:
        with pytest.raises(NotReady, match="reaches the network another way"):
            settlement.adopt_network(wanted)
        await reached(watch)

    asyncio.run(once())
    assert watch.successions == [(sys.executable, 17, Handover({"echo": {"env:T": "v4lue"}}, renew_gateway=False))]
    (environment,) = watch.environments
    assert network_variables(environment) == wanted
    assert {name: environment[name] for name in ("UNRELATED", "PATH")} == {
        "UNRELATED": "kept",
        "PATH": os.environ["PATH"],
    }
    assert network_variables(os.environ) == proxied


@pytest.mark.parametrize("matters", [True, False])
def test_a_network_that_is_the_same_or_does_not_matter_replaces_nothing(
    settlement: Settlement, watch: Watch, proxied: dict[str, str], matters: bool
) -> None:
    settlement.adopt_network(proxied if matters else None)
    assert not settlement.replacing
    assert settled(settlement, watch, caller(), replaced=False) == ""


def test_another_environment_takes_over_children_and_supervisor(
    settlement: Settlement, watch: Watch, rig: Any, tmp_path: Path
) -> None:
    other = str(tmp_path / "python")
    said = settled(settlement, watch, caller(prefix="/elsewhere", interpreter=other, version="0.10.0"), replaced=True)
    assert "0.10.0" in said
    assert other in said
    assert watch.successions[0][0] == other
    assert str(rig.paths.interpreter.readlink()) == other
    assert watch.signals == [(os.getppid(), signal.SIGHUP)]


def test_an_older_environment_is_served_and_told(settlement: Settlement, watch: Watch) -> None:
    said = settled(
        settlement, watch, caller(prefix="/elsewhere", interpreter="/other", version="0.4.9"), replaced=False
    )
    assert "0.5.0" in said
    assert "newer than this 0.4.9" in said
    assert watch.signals == []


@pytest.mark.parametrize(
    "header", ["", "x", "{}", "[]", '{"interpreter": 1, "version": 2, "fingerprint": 3}', '{"interpreter": "a"}']
)
def test_a_malformed_header_is_the_callers_mistake(settlement: Settlement, watch: Watch, header: str) -> None:
    if not header:
        assert settled(settlement, watch, header, replaced=False) == ""
        return
    with pytest.raises(InvalidRequest, match="malformed"):
        settlement.settle(header)


CHANGES: list[tuple[str, bool]] = [
    ("start_timeout: 9\n", False),
    ("gateway: other\n", True),
    ("gateway_workers: 2\n", True),
    ("gateway_shared_port: 19000\n", False),
    ("egress: other\n", True),
    ("ca_certificate_path: /ca.pem\n", True),
    ("plugins:\n  a:\n    b: 1\n", True),
    ("disabled: [x]\n", True),
    ("secrets:\n  provider: x\n", False),
]


@pytest.mark.parametrize(("text", "renews"), CHANGES)
def test_changed_settings_renew_control_and_the_gateway_only_when_it_uses_them(
    settlement: Settlement, watch: Watch, rig: Any, text: str, renews: bool
) -> None:
    rig.paths.config_file.write_text(text)
    assert settled(settlement, watch, caller(), replaced=True) == "the settings changed: control starts again"
    ((interpreter, _, handover),) = watch.successions
    assert (interpreter, handover.renew_gateway) == (sys.executable, renews)


def test_a_comment_is_no_change(settlement: Settlement, watch: Watch, rig: Any) -> None:
    rig.paths.config_file.write_text("# nothing\n")
    assert settled(settlement, watch, caller(), replaced=False) == ""


def test_unusable_settings_refuse_the_caller_and_replace_nothing(
    settlement: Settlement, watch: Watch, rig: Any
) -> None:
    rig.paths.config_file.write_text("runtim: x\n")

    async def once() -> None:
        with pytest.raises(SettingsError, match="runtim is not a known setting"):
            settlement.settle(caller())
        await asyncio.sleep(settling.PAUSE * 2)

    asyncio.run(once())
    assert watch.successions == []
