"""Wires count what was sent, and not what was meant to be sent."""

import asyncio
import socket

import h11
import pytest

from thv_egress.wires import Wire


def test_the_bytes_of_a_piece_that_broke_off_are_counted(run, wait):
    async def scene():
        near, far = socket.socketpair()
        near.setblocking(False)
        wire = Wire(near, h11.CLIENT)
        head = h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", str(8 << 20))])
        await wire.send(head)
        begun = wire.sent
        sending = asyncio.ensure_future(wire.send(h11.Data(data=b"x" * (8 << 20))))
        await wait(lambda: wire.sent > begun, "a part of the piece is sent")
        far.close()
        with pytest.raises(OSError, match=r"pipe|reset"):
            await sending
        assert begun < wire.sent < 8 << 20
        near.close()

    run(scene())
