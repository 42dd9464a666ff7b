"""The driver as a whole."""

import socket
import subprocess
import sys
import tracemalloc

import pytest

from thv_core.errors import InvalidRequest, ThvError
from thv_core.spi import MadeSocket, Network, Outbound, Outlet, OutletPlan, SocketKind, Surroundings, Verdict
from thv_egress.driver import NameEgress


@pytest.fixture
def egress(tmp_path):
    return NameEgress.from_settings({}, Surroundings(tmp_path, tmp_path))


def network(*allow_host, **outbound):
    return Network(outbound=Outbound(allow_host=allow_host, **outbound))


def test_a_profile_that_reaches_nothing_needs_no_socket(egress):
    assert egress.plan(Network()) == OutletPlan()
    assert egress.plan(Network(mode="none", outbound=Outbound(insecure_allow_all=True))) == OutletPlan()


def test_every_port_of_a_rule_gets_a_listener(egress):
    plan = egress.plan(network("api.test", "db.test:5432", "10.0.0.0/8:22"))
    assert plan == OutletPlan(pool="11.254.0.0/16", ports=(22, 80, 443, 5432), proxy=3128, dns=53)
    assert egress.plan(network(insecure_allow_all=True)).ports == (80, 443)


def test_ports_that_are_also_ours_are_listened_on_for_the_pool(egress):
    assert egress.plan(network("api.test:53", "proxy.test:3128")).ports == (53, 3128)


def test_a_profile_that_cannot_be_meant_is_refused(egress):
    with pytest.raises(InvalidRequest):
        egress.plan(network("http://api.test"))


def test_an_outlet_is_open_once(world, run):
    async def scene():
        async with world() as here:
            first = here.open("a.test")
            with pytest.raises(InvalidRequest, match="open already"):
                here.open("a.test")
            first.close()
            here.open("a.test")
            first.close()
            assert (await here.look_up("a.test"))[0] == 0
            with pytest.raises(InvalidRequest, match="open already"):
                here.open("a.test")

    run(scene())


@pytest.mark.parametrize("incarnation", ["", "../../etc/passwd", "a/b", ".hidden", "a\0b"])
def test_an_incarnation_that_is_no_file_name_is_refused(world, run, incarnation):
    async def scene():
        async with world() as here:
            with pytest.raises(InvalidRequest):
                here.open("a.test", incarnation=incarnation)

    run(scene())


def test_a_socket_that_is_no_longer_one_leaves_nothing_half_open(world, run):
    async def scene():
        async with world() as here:
            listener, gone = socket.create_server(("127.0.0.1", 0)), socket.socket()
            gone.close()
            made = tuple((MadeSocket(kind=SocketKind.PROXY), each) for each in (listener, gone))
            with pytest.raises(OSError, match="Bad file descriptor"):
                here.egress.open(Outlet("git", "git.1", network("a.test"), OutletPlan(), made))
            assert listener.fileno() == -1
            here.open("a.test", incarnation="git.1")
            assert (await here.look_up("a.test"))[0] == 0

    run(scene())


def test_nothing_is_served_when_nothing_can_be_recorded(world, run, tmp_path):
    async def scene():
        async with world() as here:
            (tmp_path / "log").write_text("a file")
            with pytest.raises(ThvError, match="record"):
                here.open("a.test")
            (tmp_path / "log").unlink()
            here.open("a.test")

    run(scene())


def test_no_connection_begins_while_records_cannot_be_written(world, run, wait, monkeypatch):
    monkeypatch.setattr("thv_egress.recording.RETRY", 0.05)

    async def scene():
        async with world() as here:
            port = await here.serve()
            here.names["a.test"] = ["127.0.0.1"]
            here.open(f"a.test:{port}", f"127.0.0.1:{port}", ports=[port])
            _, (address,) = await here.look_up("a.test")
            log = here.state / "log"
            recorder = here.egress._shared.recorder
            log.rename(here.state / "elsewhere")
            log.write_text("a file")
            reader, writer = await here.connect(address, port)
            writer.write_eof()
            await reader.read()
            await wait(lambda: recorder.failing, "the record fails")
            await here.is_reset(address, port)
            log.unlink()
            await wait(lambda: not recorder.failing, "it recovers")
            reader, writer = await here.connect(address, port)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            failed = [each for each in await here.recorded(2) if each.verdict is Verdict.FAILED]
            assert "cannot be recorded" in failed[0].reason

    run(scene())


def test_names_of_earlier_incarnations_are_forgotten(world, run, tmp_path):
    async def scene():
        async with world() as here:
            first = here.open("a.test", incarnation="fetch.1")
            await here.look_up("a.test")
            other = here.open("a.test", workload="git", incarnation="git.1")
            await here.look_up("a.test")
            first.close()
            here.open("a.test", incarnation="fetch.2")
            assert sorted(path.name for path in (tmp_path / "names").iterdir()) == ["git.1"]
            other.close()

    run(scene())


def test_sockets_of_every_kind_are_closed_with_the_outlet(world, run):
    async def scene():
        async with world() as here:
            here.open("a.test")
            connector = socket.socket()
            plain = socket.socket()
            plain.bind(("127.0.0.1", 0))
            plain.listen()
            made = (
                (MadeSocket(kind=SocketKind.CONNECTOR), connector),
                (MadeSocket(kind=SocketKind.PORT, port=80), plain),
            )
            opened = here.egress.open(Outlet("git", "git.1", network("a.test"), OutletPlan(), made))
            assert connector.fileno() == -1
            opened.close()
            assert plain.fileno() == -1

    run(scene())


def test_an_idle_outlet_is_small(world, run):
    async def scene():
        async with world() as here:
            here.open("a.test", incarnation="warm.1")
            tracemalloc.start()
            try:
                before, _ = tracemalloc.get_traced_memory()
                for number in range(10):
                    allow = [f"host-{number}-{each}.test" for each in range(50)]
                    here.open(*allow, incarnation=f"w{number}.1")
                used = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            assert used / 10 < 100_000

    run(scene())


def test_control_is_spared_what_only_the_gateway_needs():
    code = "import sys, thv_egress.driver; print([name for name in ('h11',) if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "h11" not in printed
