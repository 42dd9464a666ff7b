"""An npm registry on loopback with packages made by hand."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import pytest

from thv_core.errors import PreparationFailed
from thv_core.spi import PackageSpec, Surroundings
from thv_packages.npm import install
from thv_packages.npm.builder import NpxBuilder
from thv_packages.npm.node import Node, inspect, on_path
from thv_packages.npm.source import NpxSource

HELLO = "#!/usr/bin/env node\nconsole.log('hello');\n"


class Registry:
    """An npm registry that remembers what was asked, with whose token, and can be stopped."""

    def __init__(self) -> None:
        self.packages: dict[str, dict[str, dict[str, Any]]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.token = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"

    def package(
        self,
        name: str,
        version: str = "1.0.0",
        *,
        files: Mapping[str, str] = MappingProxyType({"index.js": HELLO}),
        bin: object = "index.js",  # noqa: A002 - the key is npm's
        dist: Mapping[str, object] = MappingProxyType({}),
        **manifest: object,
    ) -> None:
        """Offer a version, which becomes the latest; ``manifest`` are keys of its ``package.json``."""
        described = {"name": name, "version": version, **({"bin": bin} if bin else {}), **manifest}
        tarball = _tarball({**files, "package.json": json.dumps(described)})
        path = f"/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
        self.files[path] = tarball
        integrity = f"sha512-{base64.b64encode(hashlib.sha512(tarball).digest()).decode()}"
        told = {"tarball": f"{self.url}{path}", "integrity": integrity, **dist}
        scripts = manifest.get("scripts")
        installs = isinstance(scripts, dict) and bool({"preinstall", "install", "postinstall"} & scripts.keys())
        told_manifest = {**described, "dist": told, **({"hasInstallScript": True} if installs else {})}
        self.packages.setdefault(name, {})[version] = told_manifest
        self.tags.setdefault(name, {})["latest"] = version

    def stop(self) -> None:
        """Answer nobody any more; stopping twice is no error."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(10)

    def answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        if self.token and authorization != f"Bearer {self.token}":
            return 401, b"{}"
        if path in self.files:
            return 200, self.files[path]
        name = path.strip("/")
        if name not in self.packages:
            return 404, b'{"error": "Not found"}'
        versions, tags = self.packages[name], self.tags[name]
        return 200, json.dumps({"name": name, "versions": versions, "dist-tags": tags}).encode()

    def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler's self is another
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path, authorization = unquote(self.path), self.headers.get("Authorization", "")
                registry.requests.append((path, authorization))
                status, body = registry.answer(path, authorization)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                pass

        return Handler


def _tarball(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"package/{path}")
            member.size = len(text.encode())
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture
def registry() -> Iterator[Registry]:
    """Serve an empty registry until the test ends."""
    registry = Registry()
    yield registry
    registry.stop()


@pytest.fixture
def surroundings(tmp_path: Path, registry: Registry) -> Surroundings:
    """Give each test folders of its own, the registry of the test, and the Node of this machine."""
    for name in ("state", "cache"):
        (tmp_path / name).mkdir(mode=0o700)
    environment = {"npm_config_registry": registry.url, "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    return Surroundings(state=tmp_path / "state", cache=tmp_path / "cache", environment=environment)


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    """Let npm ask once: the pauses between its attempts are most of the time of tests in which nobody answers."""
    monkeypatch.setitem(install._SETTINGS, "npm_config_fetch_retries", "0")


@pytest.fixture
def source(surroundings: Surroundings) -> NpxSource:
    """Give the source as the kernel constructs it."""
    return NpxSource.from_settings({}, surroundings)


@pytest.fixture
def builder(surroundings: Surroundings) -> NpxBuilder:
    """Give the builder as the kernel constructs it."""
    return NpxBuilder.from_settings({}, surroundings)


@pytest.fixture
def spec() -> Callable[..., PackageSpec]:
    """Make the spec of a package, of version 1.0.0 unless the test says otherwise."""

    def make(name: str, version: str = "1.0.0", *, scripts: bool = False) -> PackageSpec:
        return PackageSpec(scheme="npx", name=name, version=version, scripts=scripts)

    return make


@pytest.fixture(scope="session")
def node() -> Node:
    """Give the first Node of this machine that has npm."""
    for each in on_path(os.environ["PATH"]):
        with contextlib.suppress(PreparationFailed):
            return inspect(each)
    pytest.fail("these tests need a Node that has npm")
