"""Requests of servers that wait for a client's answer, so that it reaches the life of the server that asked."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_ASKED", "Asked", "Question"]

MAX_ASKED = 1024


@dataclass(frozen=True, slots=True)
class Question:
    """A request of a server: which incarnation asked, and its own raw id."""

    incarnation: str
    identifier: bytes


class Asked:
    """What the lives of one server ask its clients, by session and by the id that the client knows.

    :data:`MAX_ASKED` are remembered; an answer to an older one goes to the current life.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, bytes], Question] = {}
        self._renamed = 0

    def note(self, session: str, incarnation: str, identifier: bytes) -> bytes:
        """Remember a question; return the id for the client: the server's own, unless another life uses it as well."""
        known = identifier
        other = self._open.get((session, known))
        if other is not None and other.incarnation != incarnation:
            self._renamed += 1
            known = b'"%s#%d"' % (incarnation.encode(), self._renamed)
        while len(self._open) >= MAX_ASKED:
            del self._open[next(iter(self._open))]
        self._open[session, known] = Question(incarnation, identifier)
        return known

    def of(self, session: str, identifier: bytes) -> Question | None:
        """Return the question that a client answers."""
        return self._open.get((session, identifier))

    def answered(self, session: str, identifier: bytes) -> bytes:
        """Forget a question; return the id that the server knows."""
        question = self._open.pop((session, identifier), None)
        return question.identifier if question is not None else identifier

    def forget(self, incarnation: str) -> None:
        """Forget what a life has asked that is over."""
        self._open = {key: each for key, each in self._open.items() if each.incarnation != incarnation}
