"""Run the echo server in a network namespace of its own, and send unconnected sockets made there to the starter."""

import ctypes
import fcntl
import socket
import struct
import sys

from thv_testkit.echo.http_transport import serve_http
from thv_testkit.echo.server import Echo

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1

libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
    raise OSError(ctypes.get_errno(), "unshare")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
sockets = [socket.socket() for _ in range(int(sys.argv[2]))]
with socket.socket(fileno=int(sys.argv[1])) as channel:
    socket.send_fds(channel, [b"x"], [each.fileno() for each in sockets])
for each in sockets:
    each.close()
serve_http(Echo(), 8080)
