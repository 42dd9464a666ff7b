"""Look-ups: the name server of one outlet. No name leaves the machine here; allowed ones get an address of the pool."""

from __future__ import annotations

import asyncio
import re
import socket
import struct

from thv_core.spi import Way
from thv_egress import dns_messages as dns
from thv_egress import sockets
from thv_egress.addresses import literal
from thv_egress.ledger import Ledger
from thv_egress.names import NamesUnusable, PoolNames
from thv_egress.rules import Rules, canonical_target

__all__ = ["LookupService"]

AT_ONCE = 64
"""Datagrams that are answered before the loop sees to others."""

LARGEST_QUERY = 4096
TCP_TIMEOUT = 10.0
_REVERSE = (".in-addr.arpa", ".ip6.arpa")


class LookupService:
    """Answers resolvers over UDP and TCP."""

    __slots__ = ("_ledger", "_names", "_rules")

    def __init__(self, ledger: Ledger, rules: Rules, names: PoolNames) -> None:
        self._ledger, self._rules, self._names = ledger, rules, names

    def receive(self, sock: socket.socket) -> None:
        """Answer the datagrams that have arrived."""
        for _ in range(AT_ONCE):
            try:
                message, peer = sock.recvfrom(LARGEST_QUERY)
                if response := self.respond(message):
                    sock.sendto(response, peer)
            except OSError:
                # Nothing more has arrived, or an answer that does not fit is lost like any datagram.
                return

    async def serve(self, client: socket.socket) -> None:
        """Answer the queries of one TCP connection, each with its length before it (RFC 7766)."""
        waiting = b""
        while True:
            async with asyncio.timeout(TCP_TIMEOUT):
                received = await sockets.receive(client)
            waiting += received
            if not received:
                return
            while len(waiting) >= 2 and len(waiting) >= 2 + (size := int.from_bytes(waiting[:2])):
                message, waiting = waiting[2 : 2 + size], waiting[2 + size :]
                response = self.respond(message)
                if not response:
                    return
                async with asyncio.timeout(TCP_TIMEOUT):
                    await sockets.send(client, struct.pack("!H", len(response)) + response)

    def crowded(self, client: socket.socket) -> None:
        """Note nothing: a resolver that comes too often asks again."""

    def respond(self, message: bytes) -> bytes:
        """Return the response to a query, empty for what gets none."""
        query = dns.parse(message)
        if query is None:
            return dns.malformed(message)
        if not query.standard:
            return dns.answer(query, dns.Code.NOT_IMPLEMENTED)
        if query.name.endswith(_REVERSE):
            return dns.answer(query, dns.Code.NO_SUCH_NAME)
        host = "" if literal(query.name) else canonical_target(query.name)
        if not host or not self._rules.knows(host):
            self._deny(_shown(query.name), "no rule of the profile names this host" if host else "this is no host name")
            return dns.answer(query, dns.Code.NO_SUCH_NAME)
        if query.kind not in (dns.TYPE_A, dns.TYPE_ANY):
            return dns.answer(query, dns.Code.NO_ERROR)
        return self._assigned(query, host)

    def _assigned(self, query: dns.Query, host: str) -> bytes:
        try:
            address = self._names.address(host)
        except NamesUnusable as error:
            self._deny(host, error.message)
            return dns.answer(query, dns.Code.SERVER_FAILURE)
        if not address:
            self._deny(host, "the server has looked up too many different names")
            return dns.answer(query, dns.Code.REFUSED)
        return dns.answer(query, dns.Code.NO_ERROR, socket.inet_aton(address))

    def _deny(self, host: str, reason: str) -> None:
        self._ledger.deny(self._ledger.attempt(Way.DNS, host), reason)


def _shown(name: str) -> str:
    """Return a name for the record, which people see on terminals: without what no host name has."""
    return re.sub(r"[^a-z0-9._-]", "?", name) or "?"
