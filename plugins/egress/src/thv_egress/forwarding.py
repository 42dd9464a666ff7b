"""Forwarding one plain HTTP request and its response, body and all, with back-pressure both ways."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from http import HTTPStatus

import h11

from thv_egress import sockets
from thv_egress.passages import CLOSED, SPENT, Passage
from thv_egress.proxy_requests import Target, for_client, for_upstream
from thv_egress.wires import OverLimit, Wire, part, refuse

__all__ = ["forward"]

BROKEN_OFF = "the server broke off its request"


class _HostBroke(Exception):
    """The host broke the connection or does not speak HTTP/1.1."""


async def forward(client: Wire, request: h11.Request, target: Target, passage: Passage) -> bool:
    """Send a request to what a passage reached and the response back; return whether the client can send another."""
    reached = passage.reached
    if reached is None:
        return False
    upstream = _upstream(reached.socket, passage)
    upload = asyncio.ensure_future(_upload(client, upstream, for_upstream(request, target, reached.parent), passage))
    try:
        await _download(client, upstream)
        passage.end()
    except _HostBroke as error:
        passage.end(str(error))
        await _regret(client, str(error))
    except OverLimit:
        passage.end(SPENT)
        await _regret(client, SPENT)
    except OSError as error:
        passage.end(f"the server broke the connection: {error.strerror or error}")
    finally:
        upload.cancel()
        passage.abort(CLOSED)
        sockets.discard(reached.socket)
    if client.state.our_state is h11.DONE and client.state.their_state is h11.DONE:
        return True
    await part(client.socket)
    return False


def _upstream(sock: socket.socket, passage: Passage) -> Wire:
    upstream = Wire(sock, h11.CLIENT, passage.spend)
    serving = asyncio.current_task()

    def cut(reason: str) -> None:
        del reason
        sockets.reset(sock)
        if serving is not None and serving is not asyncio.current_task():
            serving.cancel()

    passage.moved = lambda: (upstream.sent, upstream.received)
    passage.cut = cut
    return upstream


async def _upload(client: Wire, upstream: Wire, request: h11.Request, passage: Passage) -> None:
    """Send the request on; when its body breaks off, so does the connection to the host."""
    try:
        with contextlib.suppress(OSError):
            # The host may have answered and closed before it read everything: its answer is what counts.
            await upstream.send(request)
        while isinstance(event := await client.next(), h11.Data | h11.EndOfMessage):
            with contextlib.suppress(OSError):
                await upstream.send(event)
            if isinstance(event, h11.EndOfMessage):
                return
        passage.abort(BROKEN_OFF)
    except (OSError, h11.ProtocolError):
        passage.abort(BROKEN_OFF)
    except OverLimit:
        passage.abort(SPENT)


async def _download(client: Wire, upstream: Wire) -> None:
    while True:
        event = await _from_host(upstream)
        if isinstance(event, h11.InformationalResponse | h11.Response):
            event = for_client(event)
        elif not isinstance(event, h11.Data | h11.EndOfMessage):
            raise _HostBroke("the host closed the connection before it had answered")
        try:
            await client.send(event)
        except h11.LocalProtocolError as error:
            raise _HostBroke(f"the host's answer cannot be passed on: {error}") from error
        if isinstance(event, h11.EndOfMessage):
            return


async def _from_host(upstream: Wire) -> h11.Event | type[h11.PAUSED]:
    try:
        return await upstream.next()
    except h11.RemoteProtocolError as error:
        raise _HostBroke(f"the host does not speak HTTP/1.1: {error}") from error
    except OSError as error:
        raise _HostBroke(f"the host broke the connection: {error.strerror or error}") from error


async def _regret(client: Wire, reason: str) -> None:
    """Tell the client, or, when the response has begun already, break off so that it is not taken for complete."""
    if client.state.our_state is h11.SEND_RESPONSE:
        await refuse(client.socket, HTTPStatus.BAD_GATEWAY, f"No answer came: {reason}.")
    else:
        sockets.reset(client.socket)
