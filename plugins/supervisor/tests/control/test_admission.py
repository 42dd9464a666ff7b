"""What may run here, checked before anything is recorded."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.errors import InvalidRequest, NotFound, PluginNotFound, ThvError, TimedOut, Unsupported
from thv_core.model.profile import Network, Outbound, PermissionProfile
from thv_core.model.run_config import MiddlewareConfig, RunConfig
from thv_core.spi.egress import Egress
from thv_core.spi.runtimes import RuntimeCapabilities
from thv_core.state.configuration import SecretsSettings
from thv_core.state.store import StateStore
from thv_supervisor.control import admission
from thv_supervisor.control.admission import Admitted, admit, ephemeral_start, is_free

CONFIG = RunConfig(name="echo", image="fake://echo@1.0.0", port=5)


def admitted(rig: Any, **request: Any) -> Admitted:
    store = StateStore(rig.paths.database)
    try:
        return asyncio.run(admit(rig.request(**request), rig.ground(lambda workload: None, store)))
    finally:
        store.close()


def test_a_scheme_that_no_plugin_has_costs_no_thread(rig: Any) -> None:
    with pytest.raises(PluginNotFound):
        admitted(rig, server="whatever://echo")
    assert not [each.name for each in threading.enumerate() if "whatever" in each.name]


def test_a_server_is_resolved_and_gets_the_chosen_runtime(rig: Any) -> None:
    found = admitted(rig)
    assert (found.config.name, found.config.image, found.config.runtime) == ("echo", "fake://echo@1.1.0", "memory")
    assert found.resolved == "echo 1.1.0 from a fake"
    assert found.seconds >= 0


def test_a_whole_config_is_taken_as_it_is_under_another_name(rig: Any) -> None:
    found = admitted(rig, server="", run_config=CONFIG, name="other")
    assert found == Admitted(replace(CONFIG, name="other", runtime="memory"))
    assert admitted(rig, server="", run_config=CONFIG).config.name == "echo"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"runtime": "docker"}, PluginNotFound, "docker"),
        ({"image": "npx://echo@1.0.0"}, PluginNotFound, "Builder 'npx'"),
        ({"image": "echo"}, InvalidRequest, "does not say where the server comes from"),
        ({"group": "team"}, NotFound, "group 'team' does not exist"),
        ({"container_labels": {"-": ""}}, InvalidRequest, "cannot be the key of a label"),
        ({"name": "../x"}, InvalidRequest, "cannot name a workload"),
        ({"host": "0.0.0.0"}, InvalidRequest, "not a loopback address"),
        ({"additional_middleware_configs": (MiddlewareConfig(type="audit"),)}, PluginNotFound, "the middleware audit"),
    ],
)
def test_what_cannot_run_here_is_refused(rig: Any, changes: dict[str, Any], error: type[ThvError], words: str) -> None:
    with pytest.raises(error, match=words):
        admitted(rig, server="", run_config=replace(CONFIG, **changes))


REACHING = PermissionProfile(network=Network(outbound=Outbound(allow_host=("example.test",))))
LISTENING = replace(CONFIG, transport="streamable-http", target_port=8000)


def test_a_runtime_without_network_takes_neither_who_reaches_out_nor_who_listens(rig: Any) -> None:
    rig.runtime.capabilities = RuntimeCapabilities(packages=True)
    for config in (replace(CONFIG, permission_profile=REACHING), LISTENING):
        with pytest.raises(Unsupported, match="the runtime memory cannot") as refused:
            admitted(rig, server="", run_config=config)
        assert refused.value.hint
    assert admitted(rig, server="", run_config=CONFIG).config.name == "echo"


def test_an_egress_that_cannot_be_had_is_found_out_before_anything_is_recorded(rig: Any) -> None:
    egress = rig.drivers.handed.pop((Egress, "names"))
    with pytest.raises(PluginNotFound, match="Egress 'names'"):
        admitted(rig, server="", run_config=replace(CONFIG, permission_profile=REACHING))
    assert admitted(rig, server="", run_config=LISTENING).config.target_port == 8000
    rig.drivers.handed[Egress, "names"] = egress
    assert admitted(rig, server="", run_config=replace(CONFIG, permission_profile=REACHING)).config.name == "echo"


def test_what_the_egress_refuses_is_not_recorded(rig: Any) -> None:
    nowhere = PermissionProfile(network=Network(outbound=Outbound(allow_host=("nowhere.test",))))
    with pytest.raises(Unsupported, match=r"nowhere\.test is nowhere"):
        admitted(rig, server="", run_config=replace(CONFIG, permission_profile=nowhere))


def test_middleware_that_a_broken_plugin_would_have_offered_names_the_plugin(rig: Any) -> None:
    rig.hooks.failures["acme-audit/audit"] = "ImportError: x"
    config = replace(CONFIG, additional_middleware_configs=(MiddlewareConfig(type="audit"),))
    with pytest.raises(PluginNotFound) as refused:
        admitted(rig, server="", run_config=config)
    assert refused.value.evidence == ("acme-audit/audit: ImportError: x",)
    rig.hooks.recipes["audit"] = object()
    assert admitted(rig, server="", run_config=config).config.name == "echo"


def test_a_secret_needs_the_chosen_store_and_one_of_the_shell_does_not(rig: Any) -> None:
    rig.configuration = replace(rig.configuration, secrets=SecretsSettings(provider="absent"))
    with pytest.raises(PluginNotFound, match="absent"):
        admitted(rig, secrets=("a,target=A",))
    assert admitted(rig, secrets=("env:A,target=A",)).config.secrets == ("env:A,target=A",)


def test_a_source_that_hangs_is_given_up(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from thv_core.spi.sources import ServerSource

    monkeypatch.setattr(admission, "RESOLVE_LIMIT", 0.05)
    release = threading.Event()

    class Hanging:
        def resolve(self, reference: str) -> None:
            release.wait(20)

    rig.drivers.handed[ServerSource, "fake"] = Hanging()

    async def once() -> None:
        store = StateStore(rig.paths.database)
        try:
            with pytest.raises(TimedOut, match="source fake"):
                await admit(rig.request(), rig.ground(lambda workload: None, store))
        finally:
            release.set()
            store.close()

    asyncio.run(once())


def test_a_port_is_free_until_somebody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        assert not is_free(port)
    assert is_free(port)


def test_a_port_that_this_user_may_not_bind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    class Forbidden(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(admission.socket, "socket", Forbidden)
    with pytest.raises(InvalidRequest, match="port 80 needs privileges"):
        is_free(80)


@pytest.mark.parametrize(("text", "first"), [("10000\t60999\n", 10000), ("", 32768), ("x y", 32768), (None, 32768)])
def test_the_ephemeral_range_is_read_or_the_usual_one(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, text: str | None, first: int
) -> None:
    file = tmp_path / "range"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(admission, "EPHEMERAL_RANGE", file)
    assert ephemeral_start() == first


def test_grants_name_the_places_that_symbolic_links_lead_to(rig: Any, tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "inside").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(real)
    profile = PermissionProfile(read=(f"{link}:/r",), write=(f"{link}/inside",))
    found = admitted(rig, permission_profile=profile, volumes=(f"{link}:/v", f"{link}/inside:/w:ro")).config
    assert found.permission_profile.read == (f"{real}:/r",)
    assert found.permission_profile.write == (f"{real}/inside:{link}/inside",)
    assert found.volumes == (f"{real}:/v", f"{real}/inside:/w:ro")


def test_a_grant_of_what_is_not_there_is_refused(rig: Any, tmp_path: Path) -> None:
    missing, circle = tmp_path / "missing", tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(InvalidRequest, match=f"^{missing} cannot be granted: No such file or directory$"):
        admitted(rig, volumes=(f"{missing}:/v",))
    with pytest.raises(InvalidRequest, match=f"^{missing} cannot be granted: No such file or directory$"):
        admitted(rig, permission_profile=PermissionProfile(read=(str(missing),)))
    with pytest.raises(InvalidRequest, match=f"^{circle} cannot be granted: "):
        admitted(rig, volumes=(f"{circle}:/v",))


# What is not pinned --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "pinned", "resolved"),
    [
        ("fake://echo", "fake://echo@1.1.0", "echo 1.1.0 from a fake"),
        ("fake://echo@1.0.0", "fake://echo@1.0.0", ""),
    ],
)
def test_the_image_of_a_whole_config_is_resolved_like_the_name_of_a_server(
    rig: Any, image: str, pinned: str, resolved: str
) -> None:
    found = admitted(rig, server="", run_config=replace(CONFIG, image=image))
    assert (found.config.image, found.resolved) == (pinned, resolved)


def test_flags_beside_a_whole_config_win(rig: Any) -> None:
    config = replace(CONFIG, container_labels={"a": "1", "b": "1"})
    found = admitted(rig, server="", run_config=config, labels={"b": "2"}, host="::1", group="default").config
    assert (found.container_labels, found.host, found.group) == ({"a": "1", "b": "2"}, "::1", "default")
