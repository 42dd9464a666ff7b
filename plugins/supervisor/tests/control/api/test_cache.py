"""Prepared packages, asked of the control API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from litestar.types import ASGIApp

from thv_core.errors import PreparationFailed, ThvError
from thv_core.model.entry import PackageRoot, PackageSpec, PreparedPackage
from thv_core.model.events import Progress
from thv_core.spi.sources import Builder
from thv_core.spi.workshops import Workshop
from thv_supervisor.control.reconciler import Reconciler

CACHE = "/api/v1beta/cache"
DAY = 86_400.0


class Shelf(Builder):
    """Packages in memory, which are deleted when that is asked; one may be stuck, or the whole shelf broken."""

    def __init__(self, *packages: PreparedPackage) -> None:
        self.packages = list(packages)
        self.stuck: set[str] = set()
        self.broken: ThvError | None = None
        self.discarding: Callable[[], None] = lambda: None

    def build(self, package: PackageSpec, report: Callable[[Progress], None], workshop: Workshop) -> PackageRoot:
        raise NotImplementedError

    def prepared(self) -> Sequence[PreparedPackage]:
        if self.broken:
            raise self.broken
        return list(self.packages)

    def discard(self, package: PreparedPackage) -> None:
        self.discarding()
        if package.reference in self.stuck:
            raise PreparationFailed("it is stuck")
        self.packages.remove(package)


def package(reference: str, used_at: float = 0.0, size: int = 10) -> PreparedPackage:
    return PreparedPackage(reference=reference, path=f"/cache/{reference}", packages=2, size=size, used_at=used_at)


ECHO = "fake://echo@1.1.0"


@pytest.fixture
def shelves(rig: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Shelf]:
    """Two builders beside the one that starts servers: the packages of the fake one, and another's."""
    shelves = {
        "fake": Shelf(package(ECHO, size=1000), package("fake://echo@1.0.0", rig.clock() - 3 * DAY)),
        "other": Shelf(package("other://x@1", rig.clock() - 10 * DAY, size=7)),
    }
    builder = rig.builder
    monkeypatch.setattr(builder, "prepared", shelves["fake"].prepared, raising=False)
    monkeypatch.setattr(builder, "discard", shelves["fake"].discard, raising=False)
    rig.drivers.handed[Builder, "other"] = shelves["other"]
    monkeypatch.setattr(rig.drivers, "names", lambda contract: ("fake", "other") if contract is Builder else ())
    return shelves


def left(shelves: dict[str, Shelf]) -> list[str]:
    return sorted(each.reference for shelf in shelves.values() for each in shelf.packages)


def test_what_is_prepared_is_listed_with_the_workloads_that_use_it(
    play: Any, asked: Any, rig: Any, shelves: dict[str, Shelf]
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        await rig.run(control, rig.request(request_id="two", name="b"))
        found = (await asked(app, "GET", CACHE)).json()
        assert found["problems"] == []
        assert [(each["builder"], each["package"]["reference"], each["workloads"]) for each in found["packages"]] == [
            ("fake", "fake://echo@1.0.0", []),
            ("fake", ECHO, ["b", "echo"]),
            ("other", "other://x@1", []),
        ]
        assert found["packages"][1]["package"] == {
            "reference": ECHO,
            "path": f"/cache/{ECHO}",
            "packages": 2,
            "size": 1000,
            "used_at": 0.0,
        }

    play(story)


def test_what_no_workload_uses_is_removed_and_what_that_freed_is_told(
    play: Any, asked: Any, rig: Any, shelves: dict[str, Shelf]
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        done = (await asked(app, "DELETE", CACHE)).json()
        assert [each["reference"] for each in done["removed"]] == ["fake://echo@1.0.0", "other://x@1"]
        assert (done["freed"], done["problems"]) == (17, [])
        assert left(shelves) == [ECHO]

    play(story)


def test_a_stopped_workload_still_uses_its_package_and_a_removed_one_does_not(
    play: Any, asked: Any, rig: Any, shelves: dict[str, Shelf]
) -> None:
    one = "/api/v1beta/workloads/echo"

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        await asked(app, "POST", f"{one}/stop?timeout=0&wait=true")
        await asked(app, "DELETE", CACHE)
        assert left(shelves) == [ECHO]
        await asked(app, "DELETE", f"{one}?wait=true")
        await asked(app, "DELETE", CACHE)
        assert left(shelves) == []

    play(story)


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", [ECHO]),
        ("?older_than=0", [ECHO]),
        ("?older_than=2.5", [ECHO]),
        ("?older_than=7", [ECHO, "fake://echo@1.0.0"]),
        ("?older_than=30", [ECHO, "fake://echo@1.0.0", "other://x@1"]),
    ],
)
def test_an_age_spares_what_was_used_since(
    play: Any, asked: Any, rig: Any, shelves: dict[str, Shelf], query: str, kept: list[str]
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        await asked(app, "DELETE", f"{CACHE}{query}")
        assert left(shelves) == sorted(kept)

    play(story)


@pytest.mark.parametrize("text", ["x", "", "-1", "nan", "inf", "1e9"])
def test_an_age_that_is_none_removes_nothing(play: Any, asked: Any, shelves: dict[str, Shelf], text: str) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        before = left(shelves)
        reply = await asked(app, "DELETE", f"{CACHE}?older_than={text}")
        assert (reply.status, reply.json()["code"]) == (400, "invalid-request")
        assert left(shelves) == before

    play(story)


def test_a_builder_that_is_broken_and_a_package_that_is_stuck_keep_no_other(
    play: Any, asked: Any, rig: Any, shelves: dict[str, Shelf]
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        shelves["other"].broken = PreparationFailed("it is damaged")
        shelves["fake"].stuck.add("fake://echo@1.0.0")
        found = (await asked(app, "GET", CACHE)).json()
        assert found["problems"] == ["other: it is damaged"]
        assert len(found["packages"]) == 2
        done = (await asked(app, "DELETE", CACHE)).json()
        assert done["problems"] == ["other: it is damaged", "fake://echo@1.0.0: it is stuck"]
        assert ([each["reference"] for each in done["removed"]], done["freed"]) == ([ECHO], 1000)

    play(story)


@pytest.mark.parametrize(
    ("prepared", "kept"),
    [
        ([ECHO, "fake://echo@1.0.0"], [ECHO]),
        (["fake://Echo@1.1.0", "fake://echo@1.0.0"], ["fake://Echo@1.1.0"]),
        (["fake://echo@1.1", "fake://echo@1.0.0", "fake://x@1"], ["fake://echo@1.0.0", "fake://echo@1.1"]),
    ],
)
def test_however_a_package_is_spelled_the_one_in_use_is_spared(
    play: Any, asked: Any, rig: Any, shelves: dict[str, Shelf], prepared: list[str], kept: list[str]
) -> None:
    shelves["fake"].packages = [package(each) for each in prepared]
    shelves["other"].packages = []

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        await asked(app, "DELETE", CACHE)
        assert left(shelves) == kept

    play(story)


def test_a_root_that_two_references_share_stays_while_one_is_in_use_and_is_freed_once(
    play: Any, asked: Any, rig: Any, shelves: dict[str, Shelf]
) -> None:
    shared = msgspec.structs.replace(package("fake://echo[extra]@1.1.0", size=1000), path=f"/cache/{ECHO}")
    shelves["fake"].packages = [package(ECHO, size=1000), shared]
    shelves["other"].packages = []

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        assert (await asked(app, "DELETE", CACHE)).json()["removed"] == []
        await asked(app, "DELETE", "/api/v1beta/workloads/echo?wait=true")
        done = (await asked(app, "DELETE", CACHE)).json()
        assert (len(done["removed"]), done["freed"], left(shelves)) == (2, 1000, [])

    play(story)


def test_no_workload_begins_to_use_a_package_while_it_is_removed(
    play: Any, asked: Any, rig: Any, shelves: dict[str, Shelf]
) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def slowly() -> None:
        begun.set()
        assert let_go.wait(10.0)

    shelves["fake"].discarding = slowly

    async def story(app: ASGIApp, control: Reconciler) -> None:
        pruning = asyncio.create_task(asked(app, "DELETE", CACHE))
        await rig.until(begun.is_set)
        starting = asyncio.create_task(control.submit(rig.request()))
        done, _ = await asyncio.wait([starting], timeout=0.2)
        assert (done, control.ground.store.names()) == (set(), [])
        let_go.set()
        await asyncio.wait_for(pruning, 10.0)
        await asyncio.wait_for(starting, 10.0)
        assert control.ground.store.names() == ["echo"]

    play(story)


def test_a_package_that_came_into_use_since_the_look_is_spared(
    play: Any, asked: Any, rig: Any, shelves: dict[str, Shelf]
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        loop = asyncio.get_running_loop()
        looked = shelves["other"].prepared

        def meanwhile() -> Sequence[PreparedPackage]:
            # The other builder is asked last: what the first one has is seen by now, and not in use.
            asyncio.run_coroutine_threadsafe(rig.run(control), loop).result(10.0)
            return looked()

        rig.drivers.handed[Builder, "other"].prepared = meanwhile
        await asked(app, "DELETE", CACHE)
        assert left(shelves) == [ECHO]

    play(story)
