"""The conformance class of runtimes that isolate: what a server sees, and what it does not."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import msgspec
import pytest

from thv_core.errors import InvalidRequest, ThvError, Unsupported
from thv_core.spi import CERTIFICATES, Deployment, Grant, Namespace, Network, Outbound, Runtime, Surroundings
from thv_testkit.conversations import Conversation
from thv_testkit.runtime_fixtures import PlanMaker, unasked
from thv_testkit.runtimes import RuntimeContract

__all__ = ["IsolatingRuntimeContract"]

_MEBIBYTE = 1 << 20


class IsolatingRuntimeContract(RuntimeContract):
    """What every runtime does that isolates, which is every one that users are offered."""

    @pytest.fixture
    def surroundings(self, surroundings: Surroundings, tmp_path: Path) -> Surroundings:
        """Give the surroundings of the test, with a folder that no server may be granted."""
        forbidden = tmp_path / "forbidden"
        forbidden.mkdir()
        return dataclasses.replace(surroundings, forbidden=(forbidden,))

    @pytest.fixture
    def shared(self, tmp_path: Path) -> Path:
        """Give a folder to grant, that whoever a server runs as can write, with a note in it."""
        folder = tmp_path / "shared"
        folder.mkdir()
        folder.chmod(0o777)
        (folder / "note").write_text("a note")
        return folder

    def test_what_is_not_granted_is_not_there(self, runtime: Runtime, plan_for: PlanMaker, shared: Path) -> None:
        with Conversation(runtime.deploy(plan_for(), unasked).stdio) as server:
            assert server.tool("read", path=str(shared))["isError"]
            assert server.tool("write", path=f"{shared}/answer", text="an answer")["isError"]

    def test_a_read_only_grant_cannot_be_written(self, runtime: Runtime, plan_for: PlanMaker, shared: Path) -> None:
        grant = Grant(source=str(shared), target="/granted", writable=False)
        with Conversation(runtime.deploy(plan_for(grants=(grant,)), unasked).stdio) as server:
            assert server.text("read", path="/granted/note") == "a note"
            assert server.tool("write", path="/granted/note", text="another")["isError"]
            assert server.tool("write", path="/granted/answer", text="an answer")["isError"]
        assert [each.name for each in shared.iterdir()] == ["note"]

    def test_what_belongs_to_thv_is_not_granted(
        self, runtime: Runtime, plan_for: PlanMaker, surroundings: Surroundings
    ) -> None:
        forbidden = surroundings.forbidden[0]
        inside = forbidden / "inside"
        inside.mkdir()
        for source in (forbidden, inside, forbidden.parent):
            grant = Grant(source=str(source), target="/granted", writable=False)
            with pytest.raises(InvalidRequest):
                runtime.prepare(plan_for(grants=(grant,)), lambda _: None)
            with pytest.raises(InvalidRequest):
                runtime.deploy(plan_for(grants=(grant,)), unasked)
        assert not runtime.observe()

    def test_a_grant_that_contains_a_socket_is_refused_unless_sockets_are_allowed(
        self, runtime: Runtime, plan_for: PlanMaker, shared: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grant = Grant(source=str(shared), target="/granted", writable=False)
        (shared / "deep").mkdir()
        # The path of a socket is short.
        monkeypatch.chdir(shared / "deep")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("way-out")
            with pytest.raises(InvalidRequest):
                runtime.deploy(plan_for(grants=(grant,)), unasked)
            assert not runtime.observe()
            observed = runtime.deploy(plan_for(grants=(grant,), allow_socket=True), unasked)
        with Conversation(observed.stdio) as server:
            assert server.text("read", path="/granted/deep") == "way-out"

    def test_certificates_are_seen_where_programs_are_told_and_only_when_there_are_any(
        self, runtime: Runtime, plan_for: PlanMaker, tmp_path: Path
    ) -> None:
        bundle = tmp_path / "bundle.pem"
        bundle.write_text("certificates")
        second = Deployment(workload="conformance", generation=2)
        with Conversation(runtime.deploy(plan_for(certificates=str(bundle)), unasked).stdio) as server:
            assert server.text("read", path=CERTIFICATES) == "certificates"
            assert server.tool("write", path=CERTIFICATES, text="others")["isError"]
        with Conversation(runtime.deploy(plan_for(deployment=second), unasked).stdio) as server:
            assert server.tool("read", path=CERTIFICATES)["isError"]
        assert bundle.read_text() == "certificates"

    def test_a_memory_file_system_has_its_size_and_stays_inside(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        plan = plan_for(tmpfs={"/scratch-of-conformance": 4 * _MEBIBYTE})
        with Conversation(runtime.deploy(plan, unasked).stdio) as server:
            size = server.tool("space", path="/scratch-of-conformance")["structuredContent"]["size"]
            assert 3 * _MEBIBYTE <= size <= 5 * _MEBIBYTE
            assert server.text("write", path="/scratch-of-conformance/note", text="x" * _MEBIBYTE) == "written"
            assert server.tool("write", path="/scratch-of-conformance/much", text="x" * 5 * _MEBIBYTE)["isError"]
        assert not Path("/scratch-of-conformance").exists()

    def test_a_folder_of_the_system_that_is_to_be_hidden_is_empty(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        plan = plan_for()
        hidden = msgspec.structs.replace(plan.root, hidden=("/usr/share", "/usr/absent-for-conformance"))
        with Conversation(runtime.deploy(msgspec.structs.replace(plan, root=hidden), unasked).stdio) as server:
            assert server.text("read", path="/usr/share") == ""
            assert server.tool("write", path="/usr/share/note", text="a note")["isError"]

    def test_a_workspace_is_written_at_the_same_path(self, runtime: Runtime, plan_for: PlanMaker, shared: Path) -> None:
        plan = plan_for(workspaces=(str(shared),))
        if not runtime.capabilities.builds:
            with pytest.raises(Unsupported):
                runtime.prepare(plan, lambda _: None)
            return
        with Conversation(runtime.deploy(plan, unasked).stdio) as server:
            assert server.text("write", path=f"{shared}/made", text="made inside") == "written"
        assert (shared / "made").read_text() == "made inside"

    def test_a_workspace_that_does_not_exist_is_refused(
        self, runtime: Runtime, plan_for: PlanMaker, shared: Path
    ) -> None:
        with pytest.raises(ThvError):
            runtime.deploy(plan_for(workspaces=(f"{shared}/missing",)), unasked)
        assert not runtime.observe()

    def test_nothing_of_the_host_is_reached(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with Conversation(runtime.deploy(plan_for(), unasked).stdio) as server:
                assert server.tool("connect", host="127.0.0.1", port=port)["isError"]
                assert server.tool("connect", host="192.0.2.1", port=80)["isError"]

    def test_each_server_has_a_namespace_of_its_own(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        outward = Network(outbound=Outbound(allow_host=("example.com",)))
        numbers = [Path("/proc/self/ns/net").stat().st_ino]

        def note(space: Namespace) -> None:
            numbers.append(Path(f"/proc/{space.pid}/ns/net").stat().st_ino)

        for generation in (1, 2):
            plan = plan_for(deployment=Deployment(workload="conformance", generation=generation), network=outward)
            if not runtime.capabilities.network:
                with pytest.raises(Unsupported):
                    runtime.deploy(plan, note)
                return
            runtime.deploy(plan, note)
        assert len(set(numbers)) == 3
