"""Which HTTP status stands for which error. Pure."""

from __future__ import annotations

from thv_core.errors import ThvError

__all__ = ["MEANINGS", "reason_of", "status_of"]

_STATUSES = {
    "already-exists": 409,
    "conflict": 409,
    "forbidden": 403,
    "invalid-document": 400,
    "invalid-request": 400,
    "invalid-settings": 400,
    "not-found": 404,
    "not-ready": 503,
    "package-not-found": 400,
    "port-unavailable": 409,
    "preparation-failed": 422,
    "rolled-back": 422,
    "runtime-unavailable": 503,
    "secret-not-found": 400,
    "start-failed": 422,
    "timed-out": 504,
    "unauthorized": 401,
    "unavailable": 503,
    "unsupported": 400,
}

MEANINGS = {
    400: "The request cannot be meant; the message names the field.",
    401: "The token is missing or wrong.",
    403: "The request comes from where none may come.",
    404: "There is nothing of that name.",
    409: "The name or the port is taken, or another change is under way.",
    413: "The body is larger than 1 MiB.",
    422: "It was understood and tried, and the server did not become ready; the evidence is why.",
    500: "Something that nobody foresaw, or a broken plugin or state; the log of control has the reason.",
    503: "Control is being replaced, or the runtime does not answer: ask again.",
    504: "It was begun and did not end within its time.",
}

_MISDIRECTED = {
    404: ("not-found", "there is no operation {method} {path}"),
    405: ("method-not-allowed", "there is no operation {method} {path}"),
    413: ("too-large", "the request is larger than 1 MiB"),
}


def status_of(error: ThvError) -> int:
    """Return the status of an error; 500 for what is neither the caller's mistake nor passing."""
    return _STATUSES.get(error.code, 500)


def reason_of(status: int, method: str, path: str) -> tuple[str, str]:
    """Return the code and the sentence for a request that no operation takes."""
    code, sentence = _MISDIRECTED.get(status, ("invalid-request", "the request is malformed"))
    return code, sentence.format(method=method, path=path)
