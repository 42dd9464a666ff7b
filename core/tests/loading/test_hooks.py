from __future__ import annotations

from collections.abc import Callable

import pytest

from thv_core.loading.hooks import HookBus
from thv_core.spi import Stage, Surroundings, WorkloadEvent

HEAD = """
from thv_core.spi import MiddlewareRecipe, Stage, hookimpl

class Observer:
    def __init__(self, state):
        self.state = state

    def on_workload(self, event):
        self.seen = event

def recipe(name):
    return MiddlewareRecipe(name, Stage.MUTATE, lambda parameters: None)
"""

GOOD = (
    HEAD
    + """
@hookimpl
def thv_observers(surroundings):
    return [Observer(surroundings.state)]

@hookimpl
def thv_middleware():
    return [recipe("stamp")]
"""
)


def hook(signature: str, body: str, mark: str = "@hookimpl") -> str:
    return f"{HEAD}\n{mark}\n{signature}:\n    {body}\n"


def install(
    site, source: str, distribution: str = "acme-audit", module: str = "acme_audit", name: str = "audit"
) -> None:
    site.add(distribution, {"thv.hooks": {name: module}}, {module: source})


def around(site) -> Callable[[str], Surroundings]:
    return lambda name: Surroundings(state=site.folder / name, cache=site.folder)


def collected(site, bus: HookBus) -> tuple[list[str], list[str]]:
    """Return the names of the plugins that gave observers, and of the recipes."""
    return [name for name, _ in bus.observers(around(site))], sorted(bus.middleware())


def test_contributions_are_collected_with_the_name_of_their_plugin(site) -> None:
    install(site, GOOD)
    bus = HookBus(site.scan())
    ((name, observer),) = bus.observers(around(site))
    assert (name, observer.state) == ("audit", site.folder / "audit")
    assert bus.middleware()["stamp"].stage is Stage.MUTATE
    assert bus.failures == {}


def test_an_observer_is_called_by_us_and_not_by_pluggy(site) -> None:
    install(site, GOOD)
    ((_, observer),) = HookBus(site.scan()).observers(around(site))
    event = WorkloadEvent(workload="time", status="running", reason="", generation=1, at=0.0)
    observer.on_workload(event)
    assert observer.seen is event


def test_an_object_of_a_module_may_hold_the_hooks(site) -> None:
    source = (
        HEAD
        + "\nclass Plugin:\n    @hookimpl\n    def thv_middleware(self):\n        return [recipe('x')]\nit = Plugin()\n"
    )
    site.add("acme", {"thv.hooks": {"x": "acme_x:it"}}, {"acme_x": source})
    assert collected(site, HookBus(site.scan())) == ([], ["x"])


def test_without_plugins_nothing_is_collected(site) -> None:
    assert collected(site, HookBus(site.scan())) == ([], [])


def test_a_hook_that_returns_nothing_contributes_nothing(site) -> None:
    install(site, hook("def thv_middleware()", "return None"))
    bus = HookBus(site.scan())
    assert (collected(site, bus), bus.failures) == (([], []), {})


def test_an_optional_hook_of_a_newer_core_is_accepted(site) -> None:
    install(site, hook("def thv_later()", "return []", "@hookimpl(optionalhook=True)") + GOOD)
    bus = HookBus(site.scan())
    assert (collected(site, bus), bus.failures) == ((["audit"], ["stamp"]), {})


REFUSED_AT_ONCE = {
    "a broken import": ("raise RuntimeError('no luck')", "no luck"),
    "a syntax error": ("def (", "SyntaxError"),
    "an import that exits": ("raise SystemExit(2)", "SystemExit: 2"),
    "an argument that the hook does not have": (hook("def thv_middleware(kernel)", "return []"), "kernel"),
    "a hook that does not exist": (hook("def thv_midleware()", "return []"), "unknown hook 'thv_midleware'"),
    "an async hook": (hook("async def thv_middleware()", "return []"), "thv_middleware is async"),
    "an async generator": (hook("async def thv_middleware()", "yield 1"), "thv_middleware is async"),
}

REFUSED_WHEN_ASKED = {
    "a hook that raises": (hook("def thv_middleware()", "raise KeyError('x')"), "thv_middleware: KeyError: 'x'"),
    "a hook that exits": (hook("def thv_middleware()", "raise SystemExit(2)"), "SystemExit: 2"),
    "a hook that returns a number": (hook("def thv_middleware()", "return 3"), "TypeError"),
    "a hook that returns a coroutine": (
        hook("def thv_middleware()", "return later()") + "\nasync def later(): ...\n",
        "it returned a coroutine",
    ),
    "a generator that raises": (hook("def thv_middleware()", "yield from [1 / 0]"), "ZeroDivisionError"),
    "a recipe that is none": (hook("def thv_middleware()", "return ['x']"), "str is not a MiddlewareRecipe"),
    "a recipe without a stage": (
        hook("def thv_middleware()", "return [MiddlewareRecipe('x', 5, print)]"),
        "the stage of 'x' is not a Stage",
    ),
    "a recipe that cannot be built": (
        hook("def thv_middleware()", "return [MiddlewareRecipe('x', Stage.AUDIT, None)]"),
        "the build of 'x' cannot be called",
    ),
    "an observer that is none": (hook("def thv_observers()", "return [3]"), "int is not a WorkloadObserver"),
    "an async observer": (
        hook("def thv_observers()", "return [A()]") + "class A:\n    async def on_workload(self, event): ...\n",
        "on_workload of A is async",
    ),
    "a falsy observer that is none": (
        hook("def thv_observers()", "return [None]"),
        "NoneType is not a WorkloadObserver",
    ),
}


@pytest.mark.parametrize("case", [*REFUSED_AT_ONCE, *REFUSED_WHEN_ASKED])
def test_a_plugin_that_fails_is_left_out_and_named_while_the_good_one_contributes(site, case: str) -> None:
    source, reason = (REFUSED_AT_ONCE | REFUSED_WHEN_ASKED)[case]
    install(site, source, "evil", "evil_hooks", "evil")
    install(site, GOOD)
    bus = HookBus(site.scan())
    assert collected(site, bus) == (["audit"], ["stamp"])
    assert list(bus.failures) == ["evil/evil"]
    assert reason in bus.failures["evil/evil"]


@pytest.mark.parametrize("case", REFUSED_AT_ONCE)
def test_a_plugin_that_is_refused_at_once_takes_part_in_no_hook(site, case: str) -> None:
    install(site, REFUSED_AT_ONCE[case][0], "evil", "evil_hooks", "evil")
    assert HookBus(site.scan()).describe() == {"thv_middleware": [], "thv_observers": []}


def test_surroundings_that_cannot_be_made_are_the_failure_of_their_plugin(site) -> None:
    install(site, GOOD)

    def refuse(name: str) -> Surroundings:
        raise PermissionError(f"no place for {name}")

    bus = HookBus(site.scan())
    assert bus.observers(refuse) == []
    assert "no place for audit" in bus.failures["acme-audit/audit"]


def test_a_class_is_refused_with_a_hint_at_what_to_name(site) -> None:
    site.add("acme", {"thv.hooks": {"x": "acme_x:Plugin"}}, {"acme_x": "class Plugin: ..."})
    assert "name a module or an instance" in HookBus(site.scan()).failures["acme/x"]


def test_two_entry_points_of_one_module_register_it_once(site) -> None:
    site.add("acme", {"thv.hooks": {"a": "acme_x", "b": "acme_x"}}, {"acme_x": GOOD})
    bus = HookBus(site.scan())
    assert collected(site, bus) == (["a"], ["stamp"])
    assert "already registered" in bus.failures["acme/b"]


def test_two_recipes_of_one_name_are_refused_to_both_and_both_are_named(site) -> None:
    install(site, GOOD)
    install(site, GOOD, "evil", "evil_hooks", "evil")
    bus = HookBus(site.scan())
    assert bus.middleware() == {}
    assert set(bus.failures) == {"acme-audit/audit", "evil/evil"}
    assert "acme-audit 1.0 and evil 1.0" in bus.failures["evil/evil"]


def test_one_plugin_with_two_recipes_of_one_name_is_refused(site) -> None:
    install(site, hook("def thv_middleware()", "return [recipe('x'), recipe('x'), recipe('y')]"))
    bus = HookBus(site.scan())
    assert list(bus.middleware()) == ["y"]
    assert "'x' is offered twice" in bus.failures["acme-audit/audit"]


def test_a_wrapper_of_one_plugin_does_not_reach_the_others(site) -> None:
    install(site, GOOD)
    source = HEAD + "@hookimpl(wrapper=True)\ndef thv_middleware():\n    yield\n    return []\n"
    install(site, source, "evil", "evil_hooks", "evil")
    assert list(HookBus(site.scan()).middleware()) == ["stamp"]


@pytest.mark.parametrize("how", ["disabled", "incompatible", "conflict", "malformed"])
def test_what_the_catalog_refuses_is_not_imported(site, how: str) -> None:
    requires = ["thv-core>=9"] if how == "incompatible" else ["thv-core<9"]
    value = "acme-audit" if how == "malformed" else "acme_audit"
    site.add("acme-audit", {"thv.hooks": {"audit": value}}, {"acme_audit": GOOD}, requires)
    if how == "conflict":
        install(site, GOOD, "evil", "evil_hooks")
    bus = HookBus(site.scan(["audit"] if how == "disabled" else []))
    assert (collected(site, bus), site.traces()) == (([], []), [])


def test_describe_maps_each_hook_to_its_plugins(site) -> None:
    install(site, GOOD)
    install(site, hook("def thv_middleware()", "return []"), "more", "more_hooks", "more")
    assert HookBus(site.scan()).describe() == {
        "thv_middleware": ["acme-audit/audit", "more/more"],
        "thv_observers": ["acme-audit/audit"],
    }
