"""Sessions in Redis, for several gateways: ``SET EX`` and ``GETEX``, so that each use begins the time to live anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from thv_core.model.route import SessionRedis
from thv_gateway.sessions.store import SessionStore, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

__all__ = ["OPERATION_SECONDS", "RedisStore", "Stores"]

OPERATION_SECONDS = 5.0
"""How long one operation may take, with every attempt."""

_ATTEMPTS = 2
_CONNECTIONS = 16
_LONGEST_PAUSE = 0.2
_DEFAULT_PORT = 6379
_Answer = TypeVar("_Answer")
_TLS = "rediss://"


class RedisStore:
    """See :class:`thv_gateway.sessions.store.SessionStore`.

    :param password: empty for none.
    """

    def __init__(self, where: SessionRedis, password: str = "") -> None:
        self._where = where
        self._password = password
        self._redis: Redis | None = None

    async def key(self, own: bytes) -> bytes:
        """Keep the first key for ever: ids that were signed with it are still about."""
        name = f"{self._where.key_prefix}key"

        async def agree(redis: Redis) -> bytes:
            await redis.set(name, own, nx=True)
            return _raw(await redis.get(name) or own)

        return await self._do(agree)

    async def put(self, name: str, record: bytes, seconds: float) -> None:
        """See :meth:`thv_gateway.sessions.store.SessionStore.put`."""
        await self._do(lambda redis: redis.set(self._name(name), record, px=_milliseconds(seconds)))

    async def get(self, name: str, seconds: float) -> bytes | None:
        """See :meth:`thv_gateway.sessions.store.SessionStore.get`."""
        found = await self._do(lambda redis: redis.getex(self._name(name), px=_milliseconds(seconds)))
        return _raw(found) if found is not None else None

    async def remove(self, name: str) -> None:
        """See :meth:`thv_gateway.sessions.store.SessionStore.remove`."""
        await self._do(lambda redis: redis.delete(self._name(name)))

    async def close(self) -> None:
        """Close every connection."""
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()

    def _name(self, name: str) -> str:
        return f"{self._where.key_prefix}{name}"

    async def _do(self, work: Callable[[Redis], Awaitable[_Answer]]) -> _Answer:
        try:
            from redis.exceptions import RedisError
        except ImportError:
            raise StoreUnavailable("the library redis is not installed; install thv-gateway[redis]") from None
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                return await work(self._connected())
        except (RedisError, OSError, ValueError, TimeoutError) as error:
            raise StoreUnavailable(f"{self._where.address}: {type(error).__name__}") from None

    def _connected(self) -> Redis:
        if self._redis is None:
            from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
            from redis.asyncio.retry import Retry
            from redis.backoff import ExponentialBackoff

            host, _, port = self._where.address.removeprefix("redis://").removeprefix(_TLS).rpartition(":")
            way = SSLConnection if self._where.address.startswith(_TLS) else Connection
            pool = BlockingConnectionPool(
                host=host.strip("[]") or port,
                port=int(port) if host else _DEFAULT_PORT,
                db=self._where.db,
                password=self._password or None,
                max_connections=_CONNECTIONS,
                timeout=OPERATION_SECONDS,
                socket_timeout=OPERATION_SECONDS,
                socket_connect_timeout=OPERATION_SECONDS,
                retry=Retry(ExponentialBackoff(cap=_LONGEST_PAUSE), _ATTEMPTS),
                connection_class=way,
            )
            self._redis = Redis.from_pool(pool)
        return self._redis


def _raw(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


class Stores:
    """The stores of all workloads, one for each place.

    :param password: of every one of them; empty for none.
    """

    def __init__(self, password: str = "") -> None:
        self._password = password
        self._open: dict[SessionRedis, SessionStore] = {}

    def at(self, where: SessionRedis) -> SessionStore:
        """Return the store at one place; nothing is connected to before it is needed."""
        return self._open.setdefault(where, RedisStore(where, self._password))

    async def close(self) -> None:
        """Let go of all of them."""
        for store in self._open.values():
            await store.close()
        self._open.clear()
