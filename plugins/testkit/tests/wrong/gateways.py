"""Gateways that are wrong, each caught by the tests that it names; they carry no traffic and know no snapshot."""

import os
import select
import socket
from pathlib import Path

import pytest
from msgspec.json import decode, encode

from thv_core.spi import Gateway, NetworkReport
from thv_core.spi.gateways import GATEWAY_SOCKET, NETWORK_SOCKET, ROUTES_FILE
from thv_testkit.gateways import GatewayContract, serve_command


class TakesEverything(Gateway):
    """Takes every handover, misses nothing, and lets everybody connect."""

    reports = NetworkReport()

    def serve(self, seat):
        kept, peers = [], []
        # The path of a socket is short.
        os.chdir(seat.directory)
        Path(NETWORK_SOCKET).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(NETWORK_SOCKET)
        Path(NETWORK_SOCKET).chmod(0o666)
        listener.listen()
        while True:
            ready, _, _ = select.select([seat.lifeline, listener, *peers], [], [])
            if seat.lifeline in ready:
                return
            if listener in ready:
                peers.append(listener.accept()[0])
                peers[-1].send(encode(self.reports))
            for peer in [each for each in peers if each in ready]:
                packet, *sockets = socket.recv_fds(peer, 1 << 20, 253)
                kept.append(sockets)
                if packet:
                    peer.send(encode(self.report(decode(packet)["incarnation"])))
                else:
                    peers.remove(peer)

    def report(self, incarnation):
        return self.reports


class RefusesEverything(TakesEverything):
    """Refuses without a reason what it should take."""

    reports = NetworkReport(missing=("one.1", "two.1"))

    def report(self, incarnation):
        return NetworkReport(missing=("one.1",), refused={incarnation: ""})


class FindsEverythingReady(Gateway):
    """Reports each life that it reads of as ready and quiet, with sessions of its own, and speaks to none."""

    def serve(self, seat):
        os.chdir(seat.directory)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(GATEWAY_SOCKET)
        listener.listen()
        while seat.lifeline not in select.select([seat.lifeline, listener], [], [])[0]:
            peer, _ = listener.accept()
            routes = decode(Path(ROUTES_FILE).read_bytes())["routes"]
            for life in filter(None, [*routes, *(route["candidate"] for route in routes)]):
                said = {"state": "ready", "quiet": True, "stateful": True}
                peer.sendall(encode(said | {"workload": "echo", "incarnation": life["incarnation"]}) + b"\n")
            peer.close()


def wrong(driver, *tests):
    fixture = pytest.fixture(lambda self: serve_command(f"test_wrong:{driver.__name__}"))
    return type(f"Test{driver.__name__}", (GatewayContract,), {"gateway_command": fixture, "caught_by": tests})


TestTakesEverything = wrong(
    TakesEverything,
    "test_its_network_socket_is_its_users_own",
    "test_it_tells_what_is_missing_on_connection_and_after_each_change",
    "test_every_outlet_is_missing_after_it_was_started_anew",
    "test_sockets_of_an_unknown_outlet_are_refused_and_closed",
    "test_what_the_egress_refuses_is_reported_with_its_reason",
)
TestRefusesEverything = wrong(
    RefusesEverything,
    "test_it_tells_what_is_missing_on_connection_and_after_each_change",
    "test_what_was_handed_over_stays_when_control_comes_and_goes",
    "test_sockets_of_an_unknown_outlet_are_refused_and_closed",
    "test_it_reads_the_snapshot_again_before_it_refuses",
    "test_a_second_handover_is_ignored_and_its_sockets_closed",
    "test_what_the_egress_refuses_is_reported_with_its_reason",
)
TestFindsEverythingReady = wrong(
    FindsEverythingReady,
    "test_a_held_request_is_answered_once_it_is_released",
    "test_no_request_of_a_client_reaches_a_candidate",
    "test_a_candidate_that_cannot_be_served_fails_with_its_reason",
    "test_a_server_that_keeps_sessions_is_reported_so",
)
