"""Workloads as rows of the state, and back. Pure."""

from __future__ import annotations

from typing import cast

import msgspec

from thv_core.errors import InvalidDocument
from thv_core.model.document import decode_document, encode_document
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import SeatLife, Successor, Workload

__all__ = ["INSERT", "SELECT", "UPDATE", "row_of", "workload_of"]

_COLUMNS = (
    *("name", "request_id", "desired", "status", "reason", "generation"),
    *("provisional", "restarts", "port", "created_at", "started_at", "config", "successor", "setback", "seats"),
)
_DERIVED = ("port", "config", "successor", "seats")

SELECT = f"SELECT {', '.join(_COLUMNS)} FROM workloads"  # noqa: S608 - the names above, nothing from outside
INSERT = f"INSERT INTO workloads ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - as above
UPDATE = f"UPDATE workloads SET {', '.join(f'{each} = ?' for each in _COLUMNS)} WHERE name = ?"  # noqa: S608 - as above


def row_of(workload: Workload) -> tuple[object, ...]:
    """Return the values of the columns; equal workloads have equal rows."""
    values: dict[str, object] = {name: getattr(workload, name) for name in _COLUMNS if name not in _DERIVED}
    values |= {"port": workload.config.port, "config": encode_document(workload.config)}
    values |= {"desired": Desired(workload.desired).value, "status": Status(workload.status).value}
    values["successor"] = None if workload.successor is None else encode_document(workload.successor)
    values["seats"] = msgspec.json.encode(workload.seats)
    return tuple(values[name] for name in _COLUMNS)


def workload_of(row: tuple[object, ...], origin: str) -> Workload:
    """Return the workload of a row.

    :param origin: the file, for messages.
    :raises InvalidDocument: when one of its documents cannot be understood; ``msgspec.ValidationError`` for the rest.
    """
    values = dict(zip(_COLUMNS, row, strict=True))
    config, successor = (cast("bytes | None", values.pop(name)) for name in ("config", "successor"))
    seats = cast("bytes | str", values.pop("seats"))
    del values["port"]
    values["provisional"] = bool(values["provisional"])
    where = f"{origin}: the workload {values['name']}"
    try:
        values["seats"] = msgspec.json.decode(seats, type=tuple[SeatLife, ...])
    except msgspec.DecodeError as error:
        raise InvalidDocument(f"{where}: its seats are not understood: {error}") from None
    values["config"] = decode_document(config or b"", RunConfig, where)
    if successor is not None:
        values["successor"] = decode_document(successor, Successor, where)
    return msgspec.convert(values, Workload)
