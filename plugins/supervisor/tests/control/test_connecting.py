"""The program that makes sockets, sent into real network namespaces, and what is said when it cannot."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from thv_core.errors import RuntimeUnavailable, StartFailed
from thv_core.model.network import Handover, MadeSocket, Namespace, OutletPlan, SocketKind
from thv_core.model.plan import Deployment
from thv_core.model.profile import Network, Outbound
from thv_supervisor.control import connecting as module
from thv_supervisor.control.connecting import connecting
from thv_supervisor.control.outlets import Outward

DEPLOYMENT = Deployment(workload="echo", generation=3)
NETWORK = Network(outbound=Outbound(allow_host=("example.test",)))
PLAN = OutletPlan(pool="11.254.0.0/16", ports=(80,), proxy=3128, dns=53, connectors=2)
SANDBOX = ("bwrap", "--unshare-user", "--unshare-net", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc")


class Taken:
    """What was handed over."""

    def __init__(self) -> None:
        self.handovers: list[Handover] = []
        self.sockets: list[socket.socket] = []

    def hand(self, handover: Handover, sockets: tuple[socket.socket, ...]) -> None:
        self.handovers.append(handover)
        self.sockets.extend(sockets)


@pytest.fixture
def taken() -> Iterator[Taken]:
    taken = Taken()
    yield taken
    for each in taken.sockets:
        each.close()


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """The namespace of a process that does nothing."""
    info, told = os.pipe()
    process = subprocess.Popen([*SANDBOX, "--info-fd", str(told), "sleep", "100"], pass_fds=(told,))
    os.close(told)
    with os.fdopen(info, "rb") as reading:
        pid = int(json.loads(reading.read())["child-pid"])
    yield Namespace(pid=pid, start=started(pid))
    os.kill(pid, 9)
    process.wait(10)


def started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def outward(plan: OutletPlan = PLAN) -> Outward:
    return Outward(DEPLOYMENT, NETWORK, plan, {"HTTPS_PROXY": "http://user:passw0rd@proxy"})


def test_the_sockets_of_a_namespace_are_handed_over_and_described(namespace: Namespace, taken: Taken) -> None:
    with connecting(outward(), taken.hand) as connect:
        connect(namespace)
    (handover,) = taken.handovers
    assert (handover.workload, handover.incarnation) == ("echo", "echo.3")
    assert (handover.network, handover.plan) == (NETWORK, PLAN)
    assert handover.proxies == {"HTTPS_PROXY": "http://user:passw0rd@proxy"}
    assert "passw0rd" not in repr(handover)
    assert handover.sockets == (
        MadeSocket(kind=SocketKind.PROXY, port=3128),
        MadeSocket(kind=SocketKind.DNS_TCP, port=53),
        MadeSocket(kind=SocketKind.PORT, port=80),
        MadeSocket(kind=SocketKind.DNS_UDP, port=53),
        *[MadeSocket(kind=SocketKind.CONNECTOR)] * 2,
    )
    assert [each.getsockname()[1] for each in taken.sockets[:4]] == [3128, 53, 80, 53]
    assert not any(os.get_inheritable(each.fileno()) or os.get_blocking(each.fileno()) for each in taken.sockets)


def test_a_plan_without_sockets_starts_no_program(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRAM", "/nonexistent")
    with connecting(outward(OutletPlan()), taken.hand) as connect:
        connect(Namespace(pid=1, start=1))
    assert taken.handovers == []


def test_a_process_that_ended_meanwhile_fails_the_start(namespace: Namespace, taken: Taken) -> None:
    with (
        connecting(outward(), taken.hand) as connect,
        pytest.raises(StartFailed, match=r"echo\.3 ended before its network was made"),
    ):
        connect(Namespace(pid=namespace.pid, start=namespace.start + 1))
    assert taken.handovers == []


def test_a_namespace_that_is_no_namespace_of_its_own_is_refused(taken: Taken) -> None:
    with connecting(outward(), taken.hand) as connect, pytest.raises(RuntimeUnavailable) as refused:
        connect(Namespace(pid=os.getpid(), start=started(os.getpid())))
    assert "no network namespace of its own" in refused.value.evidence[0]
    assert refused.value.hint


def test_ports_that_are_taken_are_an_error_with_its_reason(namespace: Namespace, taken: Taken) -> None:
    for attempt in range(2):
        with connecting(outward(), taken.hand) as connect:
            if attempt == 0:
                connect(namespace)
                continue
            with pytest.raises(RuntimeUnavailable, match=r"echo\.3 could not be made") as refused:
                connect(namespace)
    assert "Address already in use" in refused.value.evidence[0]
    assert len(taken.handovers) == 1


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise SystemExit(1)", "no answer|Broken pipe|reset"),
        ("import socket,sys; s=socket.socket(fileno=int(sys.argv[1])); s.recv(9999); s.send(b'{}x')", "no answer"),
        (
            "import socket,sys; s=socket.socket(fileno=int(sys.argv[1])); s.recv(9999);"
            """ s.send(b'{"sockets": [{"kind": "proxy"}]}')""",
            "0 of 1 sockets arrived",
        ),
    ],
    ids=["it dies", "it talks nonsense", "a socket is lost"],
)
def test_a_program_that_fails_is_no_riddle(
    taken: Taken, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, words: str
) -> None:
    (tmp_path / "enter.py").write_text(program)
    monkeypatch.setattr(module, "PROGRAM", str(tmp_path / "enter.py"))
    with connecting(outward(), taken.hand) as connect, pytest.raises(RuntimeUnavailable) as refused:
        connect(Namespace(pid=1, start=1))
    assert re.search(words, refused.value.evidence[0])
    assert taken.handovers == []


def test_a_program_that_hangs_is_given_up_and_ended(
    taken: Taken, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "enter.py").write_text("import time\nwhile True: time.sleep(1)")
    monkeypatch.setattr(module, "PROGRAM", str(tmp_path / "enter.py"))
    monkeypatch.setattr(module, "MAKE_LIMIT", 0.2)
    monkeypatch.setattr(module, "FAREWELL", 0.2)
    began = time.monotonic()
    with (
        connecting(outward(), taken.hand) as connect,
        pytest.raises(RuntimeUnavailable, match=r"not made within 0\.2 s"),
    ):
        connect(Namespace(pid=1, start=1))
    assert time.monotonic() - began < 10


def test_a_program_that_is_not_needed_after_all_ends(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    processes: list[subprocess.Popen[bytes]] = []
    start = module._started
    monkeypatch.setattr(module, "_started", lambda descriptor: processes.append(start(descriptor)) or processes[-1])
    with connecting(outward(), taken.hand):
        assert processes[0].poll() is None
    assert processes[0].returncode == 0
