"""The story of a start, and who hears it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from thv_core.errors import StartFailed
from thv_core.model.events import Progress
from thv_supervisor.control import progressing
from thv_supervisor.control.progressing import Happening, Happenings

LIMIT = 20.0


def play(story: Callable[[Happenings], Awaitable[None]]) -> None:
    async def once() -> None:
        await asyncio.wait_for(story(Happenings()), LIMIT)

    asyncio.run(once())


async def whole(happenings: Happenings) -> list[Happening]:
    return [each async for each in happenings.listen()]


def step(word: str) -> Progress:
    return Progress(step=word, text="")


def test_a_late_listener_hears_the_whole_story() -> None:
    async def story(happenings: Happenings) -> None:
        happenings.tell(step("a"))
        early = asyncio.create_task(whole(happenings))
        await asyncio.sleep(0)
        happenings.tell(step("b"))
        late = asyncio.create_task(whole(happenings))
        await asyncio.sleep(0)
        happenings.tell(None)
        assert await early == await late == await whole(happenings) == [step("a"), step("b"), None]

    play(story)


def test_an_error_is_an_end() -> None:
    async def story(happenings: Happenings) -> None:
        failure = StartFailed("no")
        happenings.tell(failure)
        happenings.tell(step("of another start"))
        assert await whole(happenings) == [failure]

    play(story)


def test_a_new_start_forgets_the_former_story_and_keeps_its_listeners() -> None:
    async def story(happenings: Happenings) -> None:
        listener = asyncio.create_task(whole(happenings))
        await asyncio.sleep(0)
        happenings.tell(step("old"))
        happenings.restart()
        happenings.tell(None)
        assert await listener == [step("old"), None]
        assert await whole(happenings) == [None]

    play(story)


def test_a_report_may_come_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(happenings: Happenings) -> None:
        told: list[int] = []
        tell = happenings.tell

        def telling(happening: Happening) -> None:
            told.append(threading.get_ident())
            tell(happening)

        monkeypatch.setattr(happenings, "tell", telling)
        threads = [threading.Thread(target=happenings.report, args=(step(str(number)),)) for number in range(8)]
        for thread in threads:
            thread.start()
        await asyncio.to_thread(lambda: [thread.join() for thread in threads])
        await asyncio.sleep(0)
        happenings.tell(None)
        assert {each.step for each in (await whole(happenings))[:-1] if each} == {str(number) for number in range(8)}
        assert set(told) == {threading.get_ident()}

    play(story)


def test_a_slow_listener_is_dropped_and_the_others_hear_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progressing, "HISTORY", 5)

    async def story(happenings: Happenings) -> None:
        slow = happenings.listen()
        happenings.tell(step("0"))
        assert await anext(slow) == step("0")
        quick = asyncio.create_task(whole(happenings))
        for number in range(1, 30):
            happenings.tell(step(str(number)))
            await asyncio.sleep(0)
        happenings.tell(None)
        assert len(await quick) == 31
        rest = [each async for each in slow]
        assert rest == [step(str(number)) for number in range(1, 11)]

    play(story)


def test_what_is_kept_is_bounded() -> None:
    async def story(happenings: Happenings) -> None:
        for number in range(progressing.HISTORY * 3):
            happenings.tell(step(str(number)))
        happenings.tell(None)
        assert len(await whole(happenings)) == progressing.HISTORY

    play(story)


def test_a_listener_that_goes_away_is_forgotten() -> None:
    async def story(happenings: Happenings) -> None:
        happenings.tell(step("a"))
        listener = happenings.listen()
        await anext(listener)
        assert len(happenings._listeners) == 1
        await listener.aclose()
        assert happenings._listeners == set()

    play(story)
