import json
import os
import select
import subprocess
import sys

import pytest

from thv_testkit.fakes import ECHO_PROGRAM


class Client:
    """Speaks with a server over its pipes, one line at a time, and never waits longer than ten seconds."""

    def __init__(self, *arguments):
        command = [sys.executable, "-I", "-S", str(ECHO_PROGRAM), *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self._received = b""

    def send(self, *messages):
        for message in messages:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def line(self, within=10.0):
        while b"\n" not in self._received:
            readable, _, _ = select.select([self.process.stdout], [], [], within)
            assert readable, f"no line within {within} seconds"
            chunk = os.read(self.process.stdout.fileno(), 65536)
            assert chunk, "the server has ended"
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line

    def receive(self):
        return json.loads(self.line())

    def ask(self, method, params=None, number=1):
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}})
        return self.receive()

    def is_silent(self):
        readable, _, _ = select.select([self.process.stdout], [], [], 0.3)
        return not readable

    def close(self):
        self.process.kill()
        with self.process:
            """Leaving closes the pipes and waits."""


@pytest.fixture
def start():
    clients = []

    def starting(*arguments):
        clients.append(Client(*arguments))
        return clients[-1]

    yield starting
    for client in clients:
        client.close()
