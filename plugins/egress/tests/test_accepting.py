"""Accepting connections: bounded, and undisturbed by what goes wrong in one of them."""

import asyncio
import errno
import socket

import pytest

from thv_egress import accepting, sockets
from thv_egress.accepting import Doors


class Exhausted(socket.socket):
    """A listener of a process that has no descriptors left, for a moment."""

    left = 2

    def accept(self):
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


class Greeter:
    """A service that greets, unless it is told to break."""

    def __init__(self):
        self.turned_away = 0
        self.broken = False

    async def serve(self, client):
        if self.broken:
            raise RuntimeError("a defect")
        await sockets.send(client, b"hello")

    def crowded(self, client):
        self.turned_away += 1


def bound(kind=socket.socket):
    listener = kind()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    return listener, listener.getsockname()[1]


async def greeting(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.read()
    finally:
        writer.close()


def test_a_process_without_descriptors_pauses_and_goes_on(run, monkeypatch, caplog):
    monkeypatch.setattr(accepting, "PAUSE", 0.05)

    async def scene():
        listener, port = bound(Exhausted)
        doors = Doors(4)
        doors.open(listener, Greeter())
        assert await greeting(port) == b"hello"
        assert listener.left == 0
        doors.close()
        assert listener.fileno() == -1
        assert "Too many open files" in caplog.text

    run(scene())


def test_closing_during_the_pause_ends_it(run, monkeypatch):
    monkeypatch.setattr(accepting, "PAUSE", 0.05)

    async def scene():
        listener, port = bound(Exhausted)
        listener.left = 1000
        doors = Doors(4)
        doors.open(listener, Greeter())
        with socket.create_connection(("127.0.0.1", port)):
            await asyncio.sleep(0.02)
            doors.close()
            await asyncio.sleep(0.1)
        assert listener.left == 999

    run(scene())


def test_a_defect_cuts_one_connection_and_is_logged(run, caplog):
    async def scene():
        listener, port = bound()
        service, doors = Greeter(), Doors(4)
        doors.open(listener, service)
        service.broken = True
        with pytest.raises(ConnectionResetError):
            await greeting(port)
        assert "a defect" in caplog.text
        service.broken = False
        assert await greeting(port) == b"hello"
        doors.close()

    run(scene())


def test_a_flood_beyond_the_limit_is_turned_away_one_by_one(run, wait):
    async def scene():
        holding = asyncio.Event()

        class Holder(Greeter):
            async def serve(self, client):
                await holding.wait()

        listener, port = bound()
        service, doors = Holder(), Doors(5)
        doors.open(listener, service)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        await wait(lambda: service.turned_away == 45, "the rest is turned away")
        assert len(doors._tasks) == 5
        holding.set()
        await wait(lambda: not doors._tasks, "those inside leave")
        for client in clients:
            client.close()
        doors.close()

    run(scene())
