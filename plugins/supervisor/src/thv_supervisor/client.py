"""Speak to control over its Unix socket, starting the processes when nobody answers."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from thv_core.errors import NotReady, ThvError, Unavailable, error_from_document
from thv_core.state.configuration import ConfigurationFile
from thv_core.state.files import connect_unix
from thv_core.state.paths import Paths
from thv_supervisor.installations import HEADER, installation
from thv_supervisor.launching import launch

__all__ = ["ControlClient"]

NOTICE = "x-thv-notice"
PREFIX = "/api/v1beta"
PATIENCE = 30.0
"""Seconds in which control must answer once it was started or replaced."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, paths: Paths) -> None:
        super().__init__("control")
        self._paths = paths

    def connect(self) -> None:
        """Connect to the control socket."""
        self.sock = connect_unix(self._paths.control_socket)


class ControlClient:
    """A caller of control; ``message`` receives sentences for the user."""

    def __init__(self, environment: Mapping[str, str], message: Callable[[str], None]) -> None:
        self._paths = Paths.from_environment(environment, sys.platform)
        self._message = message
        self._header = installation().header()
        self._said: set[str] = set()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the decoded JSON answer, or ``None`` for an empty one.

        :raises ThvError: the error that control answered with.
        """
        with _whole(), self._answered(method, path, body) as response:
            text = response.read()
        return json.loads(text) if text else None

    def chunks(self, path: str) -> Iterator[bytes]:
        """Yield the pieces of a streamed text as they arrive."""
        with _whole(), self._answered("GET", path, None) as response:
            while chunk := response.read1(1 << 16):
                yield chunk

    def story(self, method: str, path: str, body: object = None) -> Iterator[dict[str, Any]]:
        """Yield the documents of a streamed answer; when control is replaced meanwhile, ask again.

        The request must be one that may be sent twice. Ends after ``ready``.

        :raises ThvError: the error that control answered with, or that ended the story.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for document in self._told(method, path, body):
                deadline = time.monotonic() + PATIENCE
                if "error" in document:
                    raise error_from_document(document["error"])
                yield document
                if "ready" in document:
                    return
        raise Unavailable("control ends before it tells how it went", hint="thv list shows what is running.")

    def _told(self, method: str, path: str, body: object) -> Iterator[dict[str, Any]]:
        try:
            with self._answered(method, path, body) as response:
                while line := response.readline():
                    yield json.loads(line)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return

    @contextmanager
    def _answered(self, method: str, path: str, body: object) -> Generator[http.client.HTTPResponse]:
        connection, response = self._persistently(method, path, body)
        try:
            if notice := response.headers.get(NOTICE):
                self._say_once(notice)
            if response.status >= 400:
                raise _refusal(response)
            yield response
        finally:
            connection.close()

    def _persistently(self, method: str, path: str, body: object) -> tuple[_Connection, http.client.HTTPResponse]:
        deadline = time.monotonic() + PATIENCE
        pause = 0.02
        while time.monotonic() < deadline:
            try:
                return self._once(method, path, body)
            except NotReady as error:
                self._say_once(error.message)
            except (OSError, http.client.HTTPException):
                ConfigurationFile(self._paths.config_file).load()
                launch(self._paths)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)
        raise self._unavailable()

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._message(text)

    def _once(self, method: str, path: str, body: object) -> tuple[_Connection, http.client.HTTPResponse]:
        connection = _Connection(self._paths)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body).encode(),
                headers={HEADER: self._header, "content-type": "application/json"},
            )
            response = connection.getresponse()
            if response.status == 503:
                raise _refusal(response)
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _unavailable(self) -> ThvError:
        lines: list[str] = []
        if self._paths.supervisor_log.exists():
            lines = self._paths.supervisor_log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        return Unavailable("control does not answer", evidence=lines, hint=f"Its log: {self._paths.supervisor_log}")


@contextmanager
def _whole() -> Generator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException):
        raise Unavailable(
            "control ended before its answer was complete", hint="thv list --all shows what there is."
        ) from None


def _refusal(response: http.client.HTTPResponse) -> ThvError:
    text = response.read()
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return ThvError(f"control answered {response.status}: {text[:200]!r}")
    return error_from_document(cast("dict[str, object]", document))
