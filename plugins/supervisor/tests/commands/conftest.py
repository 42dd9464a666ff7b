"""Commands with a console that records, and a control that answers from a table."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner, Result

from thv_supervisor import client


class Turn(NamedTuple):
    """One of several answers that are given one after the other; the last is given for ever."""

    answer: Any


class FakeControl:
    """What commands ask of control, and what it answers: a value, or an error that is raised."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, object]] = []
        self.limits: list[float] = []
        self.answers: dict[tuple[str, str], Any] = {}
        self.stories: dict[str, list[Any]] = {}
        self.text: list[Any] = []
        self.streams: dict[str, list[Any]] = {}

    def __call__(self, environment: Mapping[str, str], message: Callable[[str], None]) -> FakeControl:
        return self

    def call(self, method: str, path: str, limit: float = 30.0, body: object = None) -> Any:
        self.calls.append((method, path, body))
        self.limits.append(limit)
        answer = self.answers.get((method, path))
        if isinstance(answer, list) and answer and isinstance(answer[0], Turn):
            answer = answer.pop(0).answer if len(answer) > 1 else answer[0].answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def story(self, method: str, path: str, body: object = None) -> Iterator[dict[str, Any]]:
        self.calls.append((method, path, body))
        for document in self.stories.get(path, [{"ready": {"url": f"http://{path.rsplit('/', 2)[-2]}"}}]):
            if isinstance(document, BaseException):
                raise document
            yield document

    def chunks(self, path: str) -> Iterator[bytes]:
        self.calls.append(("GET", path, None))
        for chunk in self.text:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    def documents(self, path: str) -> Iterator[dict[str, Any]]:
        self.calls.append(("GET", path, None))
        for document in self.streams.get(path, []):
            if isinstance(document, BaseException):
                raise document
            yield document

    def paths(self) -> list[str]:
        return [f"{method} {path.removeprefix('/api/v1beta/workloads')}" for method, path, _ in self.calls]


class Terminal(io.BytesIO):
    """Standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal() -> type[Terminal]:
    return Terminal


@pytest.fixture
def in_turn() -> Callable[..., list[Turn]]:
    """Answers that control gives one after the other, the last one for ever."""
    return lambda *answers: [Turn(each) for each in answers]


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> FakeControl:
    control = FakeControl()
    monkeypatch.setattr(client, "ControlClient", control)
    return control


@pytest.fixture
def invoke(console: Any, control: FakeControl) -> Callable[..., Result]:
    """Run a command with the console of the test; what it raises beyond click's own is raised here."""

    def invoked(command: click.Command, *arguments: str, **options: Any) -> Result:
        result = CliRunner().invoke(command, arguments, obj=console, **options)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoked
