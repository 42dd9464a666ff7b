"""Looking names up."""

import asyncio
import ipaddress
import socket

import pytest

from thv_egress import resolving
from thv_egress.resolving import Resolver, UnknownName, system_resolve


def test_simultaneous_questions_are_one_and_the_answer_is_remembered(run):
    async def scene():
        asked = []

        async def resolve(host):
            asked.append(host)
            await asyncio.sleep(0.01)
            return ["1.1.1.1", "1.1.1.1", "::ffff:1.0.0.1"]

        resolver = Resolver(resolve)
        found = await asyncio.gather(*(resolver.addresses("a.test") for _ in range(10)))
        assert set(found) == {(ipaddress.ip_address("1.1.1.1"), ipaddress.ip_address("1.0.0.1"))}
        await resolver.addresses("a.test")
        assert asked == ["a.test"]

    run(scene())


def test_failures_are_not_remembered(run):
    async def scene():
        answers = iter([socket.gaierror(-3, "Temporary failure"), ["1.1.1.1"], []])

        async def resolve(host):
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        resolver = Resolver(resolve)
        with pytest.raises(UnknownName, match="Temporary"):
            await resolver.addresses("a.test")
        assert await resolver.addresses("a.test")
        with pytest.raises(UnknownName, match="no address"):
            await resolver.addresses("b.test")

    run(scene())


def test_what_is_remembered_is_bounded_and_ends(run, monkeypatch):
    monkeypatch.setattr(resolving, "MOST_REMEMBERED", 3)

    async def scene():
        asked = []

        async def resolve(host):
            asked.append(host)
            return ["1.1.1.1"]

        resolver = Resolver(resolve)
        for name in ("a", "b", "c", "d", "d", "a"):
            await resolver.addresses(name)
        assert asked == ["a", "b", "c", "d", "a"]
        monkeypatch.setattr(resolving, "REMEMBERED", -1.0)
        await resolver.addresses("e")
        await resolver.addresses("e")
        assert asked[-2:] == ["e", "e"]

    run(scene())


def test_look_ups_under_way_are_bounded(run, monkeypatch):
    monkeypatch.setattr(resolving, "MOST_AT_ONCE", 2)

    async def scene():
        hanging = asyncio.Event()

        async def resolve(host):
            await hanging.wait()
            return ["1.1.1.1"]

        resolver = Resolver(resolve)
        waiting = [asyncio.ensure_future(resolver.addresses(name)) for name in ("a", "b")]
        await asyncio.sleep(0)
        with pytest.raises(UnknownName, match="too many"):
            await resolver.addresses("c")
        waiting[0].cancel()
        await asyncio.sleep(0)
        with pytest.raises(UnknownName, match="too many"):
            await resolver.addresses("c")
        hanging.set()
        assert await waiting[1]
        assert await resolver.addresses("c")

    run(scene())


def test_the_system_resolves_what_it_knows(run):
    async def scene():
        assert "127.0.0.1" in await system_resolve("localhost")
        with pytest.raises((OSError, UnicodeError)):
            await system_resolve("a" * 70)

    run(scene())
