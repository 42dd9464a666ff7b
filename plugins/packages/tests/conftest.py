"""A package index on loopback with wheels made by hand, so that each case of the index is one line in a test."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from thv_core.spi import PackageSpec, Surroundings
from thv_packages import shelf
from thv_packages.pypi.builder import UvxBuilder
from thv_packages.pypi.source import UvxSource
from thv_testkit.fakes import UnisolatedWorkshop

BUILD = """
import json, os, sys
from pathlib import Path
from thv_core.spi import PackageSpec, Surroundings
from thv_packages.pypi.builder import UvxBuilder
from thv_testkit.fakes import UnisolatedWorkshop

state, cache, name, halt, settings = json.loads(sys.argv[1])

def report(progress):
    print(progress.step, flush=True)
    if progress.step == halt:
        sys.stdin.read()

surroundings = Surroundings(Path(state), Path(cache), dict(os.environ))
builder = UvxBuilder.from_settings(settings, surroundings)
print(builder.build(PackageSpec(scheme="uvx", name=name, version="1.0"), report, UnisolatedWorkshop()).path)
"""

BACKEND = """
{setup}
import base64, pathlib

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "{name}-py3-none-any.whl"
    pathlib.Path(folder, name).write_bytes(base64.b64decode("{wheel}"))
    return name
"""


class Index:
    """A simple index (PEP 503) that counts its requests and can be stopped."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        self.authorization = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/simple"

    def wheel(
        self,
        name: str,
        version: str = "1.0",
        *,
        scripts: Sequence[str] = (),
        requires: Sequence[str] = (),
        files: Mapping[str, str] = MappingProxyType({}),
        tag: str = "py3-none-any",
    ) -> None:
        """Offer a wheel; each script is a line of ``console_scripts``, or a bare name that calls ``main``."""
        self._add(name, f"{version}-{tag}.whl", _wheel(name, version, scripts, requires, files))

    def source_distribution(
        self, name: str, version: str = "1.0", *, setup: str = "", requires: Sequence[str] = ()
    ) -> None:
        """Offer a source distribution that runs ``setup`` whenever it is built, and has an executable of its name."""
        self._add(name, f"{version}.tar.gz", _source_distribution(name, version, setup, requires))

    def _add(self, name: str, suffix: str, file: bytes) -> None:
        escaped = name.replace("-", "_").replace(".", "_")
        self.files.setdefault(name, {})[f"{escaped}-{suffix}"] = file

    def stop(self) -> None:
        """Answer nobody any more; stopping twice is no error."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(10)

    def answer(self, path: str) -> tuple[str, bytes] | None:
        parts = path.strip("/").split("/")
        if parts[0] == "file" and parts[2] in self.files.get(parts[1], {}):
            return "application/octet-stream", self.files[parts[1]][parts[2]]
        if parts[0] == "simple" and parts[1] in self.files:
            return "text/html", self._page(parts[1])
        return None

    def _page(self, name: str) -> bytes:
        links = (
            f'<a href="/file/{name}/{file}#sha256={hashlib.sha256(body).hexdigest()}">{file}</a>'
            for file, body in self.files[name].items()
        )
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()

    def _handler(index: Index) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler's self is another
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index.requests.append(self.path)
                welcome = index.authorization in ("", self.headers.get("Authorization", ""))
                answer = index.answer(self.path) if welcome else None
                kind, body = answer or ("text/plain", b"no such page")
                self.send_response(200 if answer else 404 if welcome else 401)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815 - the name is http.server's

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                pass

        return Handler


def _wheel(name: str, version: str, scripts: Sequence[str], requires: Sequence[str], files: Mapping[str, str]) -> bytes:
    module = name.replace("-", "_").replace(".", "_")
    info = f"{module}-{version}.dist-info"
    lines = [each if "=" in each else f"{each} = {module}:main" for each in scripts]
    content = {
        f"{module}/__init__.py": f"def main():\n    print('hello from {name} {version}')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {each}\n" for each in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\n" + "".join(f"{line}\n" for line in lines),
        **files,
    }
    record = "".join(f"{path},sha256={_record_hash(text)},{len(text.encode())}\n" for path, text in content.items())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return buffer.getvalue()


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _source_distribution(name: str, version: str, setup: str, requires: Sequence[str]) -> bytes:
    wheel = base64.b64encode(_wheel(name, version, [name], requires, {})).decode()
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.format(setup=setup, wheel=wheel, name=f"{name.replace('-', '_')}-{version}"),
        "PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def unflushed(monkeypatch) -> None:
    """Do not wait for the disk: no test loses its power, and a flush waits for all that the machine writes."""
    monkeypatch.setattr(shelf, "_flush", lambda folder: None)


@pytest.fixture
def index() -> Iterator[Index]:
    """Serve an empty package index until the test ends."""
    index = Index()
    yield index
    index.stop()


@pytest.fixture
def self_signed(tmp_path: Path) -> Iterator[str]:
    """Serve an index over TLS with a certificate that no authority issued."""
    trust, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=index"]
    subprocess.run(
        [*argv, "-addext", "subjectAltName=IP:127.0.0.1", "-out", trust, "-keyout", key],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trust, key)
    server = _QuietServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}/simple"
    server.shutdown()
    server.server_close()
    thread.join(10)


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that does not trust this server, because that is the test."""


@pytest.fixture
def surroundings(tmp_path: Path, index: Index) -> Surroundings:
    """Give each test folders of its own, and the index of the test."""
    for name in ("state", "cache"):
        (tmp_path / name).mkdir(mode=0o700)
    environment = {"UV_DEFAULT_INDEX": index.url, "UV_HTTP_RETRIES": "0", "HOME": str(tmp_path), "PATH": os.defpath}
    return Surroundings(state=tmp_path / "state", cache=tmp_path / "cache", environment=environment)


@pytest.fixture
def source(surroundings: Surroundings) -> UvxSource:
    """Give the source as the kernel constructs it."""
    return UvxSource.from_settings({}, surroundings)


@pytest.fixture
def builder(surroundings: Surroundings) -> UvxBuilder:
    """Give the builder as the kernel constructs it."""
    return UvxBuilder.from_settings({}, surroundings)


@pytest.fixture
def workshop() -> UnisolatedWorkshop:
    """Give a workshop that runs its jobs, but isolates nothing: what is isolated is tested with the whole system."""
    return UnisolatedWorkshop()


@pytest.fixture
def spec() -> Callable[..., PackageSpec]:
    """Make the spec of a package, of version 1.0 unless the test says otherwise."""
    return lambda name, version="1.0": PackageSpec(scheme="uvx", name=name, version=version)


@pytest.fixture
def building(surroundings: Surroundings) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start builds in processes of their own; one with ``halt`` stops at that step until it is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *, halt: str = "", python: str = sys.executable, **options: Any) -> subprocess.Popen[str]:
        settings = {"python": python} if python != sys.executable else {}
        folders = [str(surroundings.state), str(surroundings.cache)]
        environment = {**surroundings.environment, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(
            [python, "-c", BUILD, json.dumps([*folders, name, halt, settings])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=30)
