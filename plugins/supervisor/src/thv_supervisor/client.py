"""Speak to control over its Unix socket, starting the processes when nobody answers."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from thv_core.errors import NotReady, ThvError, Unavailable, error_from_document
from thv_core.state.configuration import ConfigurationFile
from thv_core.state.files import connect_unix
from thv_core.state.paths import Paths
from thv_supervisor.installations import HEADER, installation
from thv_supervisor.launching import launch
from thv_supervisor.wire import LINES, NOTICE

__all__ = ["ControlClient"]

PATIENCE = 30.0
"""Seconds in which control must begin to answer once it was started or replaced."""

ANSWER = 30.0
"""Seconds that the answer to an ordinary call may take."""

INSISTENCE = 8.0
"""Seconds after which an environment whose control does not start loses its place to the caller's."""

BRISK = 1.0


class _Connection(http.client.HTTPConnection):
    """``sent`` tells whether a request may have reached control."""

    def __init__(self, paths: Paths, limit: float | None) -> None:
        super().__init__("control")
        self._paths = paths
        self._limit = limit
        self.sent = False

    def connect(self) -> None:
        """Connect to the control socket."""
        self.sock = connect_unix(self._paths.control_socket)
        self.sock.settimeout(self._limit)
        self.sent = True


class _Call(NamedTuple):
    """One request.

    ``limit`` is how many seconds of silence it bears, for ever when ``None``. One that is not ``judged`` says nothing
    of its installation, and never has control replaced.
    """

    method: str
    path: str
    body: object = None
    limit: float | None = None
    lines: bool = False
    judged: bool = True


class ControlClient:
    """A caller of control; ``message`` receives sentences for the user."""

    def __init__(self, environment: Mapping[str, str], message: Callable[[str], None]) -> None:
        self._paths = Paths.from_environment(environment, sys.platform)
        self._message = message
        self._header = installation().header()
        self._said: set[str] = set()

    def call(self, method: str, path: str, limit: float = ANSWER, body: object = None) -> Any:
        """Return the decoded JSON answer, or ``None`` for an empty one.

        :param limit: seconds that the answer may take.
        :raises ThvError: the error that control answered with.
        """
        with _whole(), self._answered(_Call(method, path, body, limit)) as response:
            text = response.read()
        return json.loads(text) if text else None

    def chunks(self, path: str) -> Iterator[bytes]:
        """Yield the pieces of a streamed text as they arrive."""
        with _whole(), self._answered(_Call("GET", path)) as response:
            while chunk := response.read1(1 << 16):
                yield chunk

    def documents(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the documents of a streamed answer, one a line, as they arrive.

        :raises ThvError: the error that control answered with, or that ended the stream.
        """
        rest = b""
        for chunk in self.chunks(path):
            *lines, rest = (rest + chunk).split(b"\n")
            for document in map(json.loads, lines):
                if "error" in document:
                    raise error_from_document(document["error"])
                yield document

    def story(self, method: str, path: str, body: object = None) -> Iterator[dict[str, Any]]:
        """Yield the documents of a streamed answer; when control is replaced meanwhile, ask again.

        The request must be one that may be sent twice. Ends after ``ready``.

        :raises ThvError: the error that control answered with, or that ended the story.
        """
        call = _Call(method, path, body, lines=True)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            began = time.monotonic()
            for document in self._told(call):
                if "error" in document:
                    raise error_from_document(document["error"])
                yield document
                if "ready" in document:
                    return
            if time.monotonic() - began > BRISK:
                deadline = time.monotonic() + PATIENCE
        raise Unavailable("control ends before it tells how it went", hint="thv list shows what is running.")

    def lease(self, path: str, body: object, limit: float, judged: bool) -> Iterator[dict[str, Any]]:
        """Yield the documents of an answer that goes on for as long as something is leased; ends when it is cut.

        :param limit: seconds of silence after which it is taken for cut.
        :param judged: whether control may be replaced by that of this installation first.
        :raises ThvError: the error that control answered with.
        """
        granted = False
        try:
            for document in self._told(_Call("POST", path, body, limit, lines=True, judged=judged)):
                granted = True
                yield document
        except Unavailable:
            if not granted:
                raise

    def _told(self, call: _Call) -> Iterator[dict[str, Any]]:
        try:
            with self._answered(call) as response:
                while line := response.readline():
                    yield json.loads(line)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return

    @contextmanager
    def _answered(self, call: _Call) -> Generator[http.client.HTTPResponse]:
        connection, response = self._persistently(call)
        try:
            if notice := response.headers.get(NOTICE):
                self._say_once(notice)
            if response.status >= 400:
                raise _refusal(response)
            yield response
        except TimeoutError:
            raise _silence(call) from None
        finally:
            connection.close()

    def _persistently(self, call: _Call) -> tuple[_Connection, http.client.HTTPResponse]:
        began = time.monotonic()
        pause = 0.02
        repeated = replaced = False
        while time.monotonic() < began + PATIENCE:
            connection = _Connection(self._paths, call.limit)
            try:
                response = self._once(connection, call)
            except TimeoutError:
                raise _silence(call) from None
            except NotReady as error:
                # The first answer has the reason; the next ones only say that it is not over yet.
                if not replaced:
                    self._say_once(error.message)
                replaced = True
            except (OSError, http.client.HTTPException):
                repeated = repeated or connection.sent
                self._start(began)
            else:
                if repeated and call.method == "DELETE" and response.status == 404:
                    response.status = 202
                return connection, response
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)
        raise self._unavailable()

    def _start(self, began: float) -> None:
        """Start the processes, or find out why they do not answer; ``began`` is when this caller began to wait."""
        ConfigurationFile(self._paths.config_file).load()
        waited = time.monotonic() - began
        if waited > BRISK and (refusal := self._told_why(time.time() - waited)) is not None:
            raise refusal
        launch(self._paths, insist=waited > INSISTENCE, message=self._say_once)

    def _told_why(self, since: float) -> ThvError | None:
        """Return why control could not start, if it said so after the instant ``since``."""
        try:
            if self._paths.control_error.stat().st_mtime < since:
                return None
            return error_from_document(json.loads(self._paths.control_error.read_bytes()))
        except (OSError, ValueError):
            return None

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._message(text)

    def _once(self, connection: _Connection, call: _Call) -> http.client.HTTPResponse:
        try:
            headers = {HEADER: self._header} if call.judged else {}
            if call.body is not None:
                headers["content-type"] = "application/json"
            if call.lines:
                headers["accept"] = LINES
            body = None if call.body is None else json.dumps(call.body).encode()
            connection.request(call.method, call.path, body=body, headers=headers)
            response = connection.getresponse()
            if response.status == 503:
                raise _refusal(response)
        except BaseException:
            connection.close()
            raise
        return response

    def _unavailable(self) -> ThvError:
        log = self._paths.supervisor_log
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:] if log.exists() else []
        return Unavailable("control does not answer", evidence=lines, hint=f"Its log: {log}")


@contextmanager
def _whole() -> Generator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException):
        raise Unavailable(
            "control ended before its answer was complete", hint="thv list --all shows what there is."
        ) from None


def _silence(call: _Call) -> ThvError:
    return Unavailable(f"control did not answer within {call.limit:g} s", hint="thv serve --stop")


def _refusal(response: http.client.HTTPResponse) -> ThvError:
    text = response.read()
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return ThvError(f"control answered {response.status}: {text[:200]!r}")
    return error_from_document(cast("dict[str, object]", document))
