"""The story of a change, waited for to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from thv_core.errors import RolledBack, Unavailable
from thv_core.model.events import Progress
from thv_supervisor.control.api.telling import ending

STEP = Progress(step="prepared", text="nothing")


class Told:
    """A keeper whose story is what a test says."""

    name = "echo"

    def __init__(self, *happenings: Any) -> None:
        self.happenings = self
        self._told = happenings

    async def listen(self) -> AsyncIterator[Any]:
        for happening in self._told:
            yield happening


def test_a_story_that_ends_well_is_waited_for() -> None:
    asyncio.run(ending(Told(STEP, None)))


def test_a_story_that_ends_badly_is_its_error() -> None:
    with pytest.raises(RolledBack, match="no"):
        asyncio.run(ending(Told(STEP, RolledBack("no"))))


def test_a_story_whose_end_is_not_heard_is_no_success() -> None:
    with pytest.raises(Unavailable, match="echo fares"):
        asyncio.run(ending(Told(STEP)))
