"""The flat chain of stages: walked forward for a request, backward for each message and for the end.

A plugin's stage and a built-in one are the same thing to it. An exception of a stage refuses the request; it never
lets one pass.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from thv_core.errors import PluginBroken, PluginNotFound, ThvError
from thv_core.model.message import Kind, Message
from thv_core.model.run_config import MiddlewareConfig
from thv_core.spi.middleware import Exchange, Middleware, MiddlewareRecipe, Outcome, Reply, Stage
from thv_gateway.messages.answers import INTERNAL_ERROR, failure, refusal
from thv_gateway.messages.versions import Era
from thv_gateway.sessions.sessions import Session
from thv_gateway.web.heads import Heading
from thv_gateway.web.peer import NOBODY, Peer

__all__ = ["Arrival", "BuiltIn", "Chain", "Step", "plugin_steps"]


@dataclass(slots=True)
class Arrival(Exchange):
    """An exchange with what only built-in stages use.

    ``peer`` is the client's end of it. ``fields`` holds the last value of each header. ``live`` is the session behind
    ``session``, ``era`` the one that the client speaks in this request. ``query`` is what follows the path, as it was
    written; ``prefix`` what precedes it on the shared listener (``/NAME``); ``secure`` tells that it came over TLS.
    ``reached`` counts the stages that were entered; ``fault`` is a word when the gateway itself ended the exchange with
    an error. ``parsed`` is the message as it came: whether ``message`` is another one tells that a stage changed it.
    ``heading`` is what is known of its head, if it came on a connection of a client.
    """

    peer: Peer = NOBODY
    era: Era = Era.LEGACY
    fields: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    live: Session | None = None
    reached: int = 0
    fault: str = ""
    parsed: Message | None = None
    query: bytes = b""
    prefix: str = ""
    secure: bool = False
    heading: Heading | None = None

    @property
    def identifier(self) -> bytes:
        """The raw id under which it is answered or refused: that of a request, and empty for anything else."""
        message = self.message
        return message.id if message is not None and message.kind is Kind.REQUEST else b""


class Step(Protocol):
    """One stage, built in or a plugin's."""

    stage: Stage

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """See :meth:`thv_core.spi.middleware.Middleware.on_request`."""
        ...

    async def on_message(self, exchange: Arrival, message: Message, /) -> Message:
        """See :meth:`thv_core.spi.middleware.Middleware.on_message`."""
        ...

    async def on_end(self, exchange: Arrival, outcome: Outcome, /) -> None:
        """See :meth:`thv_core.spi.middleware.Middleware.on_end`."""
        ...


class BuiltIn:
    """The empty methods of a built-in stage; one that never waits has :meth:`at_once` for its :meth:`on_request`.

    ``of_heads`` tells that nothing but the head decides, and that nothing is learnt of it: who has let one pass is not
    asked about the same again. ``reads_body`` tells that a stage does only that.
    """

    of_heads = False
    reads_body = False

    def at_once(self, exchange: Arrival, /) -> Reply | None:
        """Let every request pass."""
        return None

    def is_calm(self, exchange: Arrival, /) -> bool:
        """Tell whether none of the other methods would do anything with this one, whose message is known."""
        return False

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Do as :meth:`at_once`."""
        return self.at_once(exchange)

    async def on_message(self, exchange: Arrival, message: Message, /) -> Message:
        """Return the message unchanged."""
        return message

    async def on_end(self, exchange: Arrival, outcome: Outcome, /) -> None:
        """Take no note."""


class Chain:
    """The stages of one route, sorted once; those that do not override a method cost nothing for it.

    ``is_watched`` tells whether a stage takes note of the end, ``alters`` whether one looks at what goes to the client.
    ``is_direct`` tells that those which do, or wait for anything but the body, have a say in that; see
    :meth:`pass_at_once`.

    :param complain: called with the name of a stage and of the exception that it raised.
    """

    def __init__(self, steps: Iterable[Step], complain: Callable[[str, str], None]) -> None:
        self.steps = tuple(sorted(steps, key=lambda step: step.stage))
        self._complain = complain
        numbered = tuple(enumerate(self.steps, start=1))
        self._inward = tuple((number, step, _at_once(step)) for number, step in numbered if _enters(step))
        self._behind_heads = tuple(each for each in self._inward if not getattr(each[1], "of_heads", False))
        self._outward = tuple(step for step in reversed(self.steps) if _overrides(step, "on_message"))
        self._ends = tuple(pair for pair in reversed(numbered) if _overrides(pair[1], "on_end"))
        self.is_watched = bool(self._ends)
        self.alters = bool(self._outward)
        looking = (*self._outward, *(step for _, step in self._ends))
        waiting = (
            step for _, step, at_once in self._inward if at_once is None and not getattr(step, "reads_body", False)
        )
        self._calm = tuple(dict.fromkeys((*looking, *waiting)))
        self.is_direct = all(isinstance(step, BuiltIn) and _overrides(step, "is_calm") for step in self._calm)

    async def enter(self, arrival: Arrival) -> Reply | None:
        """Walk the stages forward; a reply, or an exception, ends the exchange."""
        heading = arrival.heading
        known = heading is not None and heading.passed is self
        for number, step, at_once in self._behind_heads if known else self._inward:
            arrival.reached = number
            try:
                reply = at_once(arrival) if at_once is not None else await step.on_request(arrival)
            except Exception as error:
                return self._failed(step, error, arrival)
            if reply is not None:
                arrival.fault = arrival.fault or "refused"
                return reply
        arrival.reached = len(self.steps)
        if heading is not None:
            heading.passed = self
        return None

    def pass_at_once(self, arrival: Arrival) -> Reply | None:
        """Walk the stages forward with a request whose body has been read; only for a chain that is direct."""
        heading = arrival.heading
        known = heading is not None and heading.passed is self
        for _, step, at_once in self._behind_heads if known else self._inward:
            try:
                reply = at_once(arrival) if at_once is not None else None
            except Exception as error:
                return self._failed(step, error, arrival)
            if reply is not None:
                return reply
        if heading is not None:
            heading.passed = self
        return None

    def is_calm(self, arrival: Arrival) -> bool:
        """Tell whether no stage of a direct chain waits for anything, or looks at what becomes of an exchange."""
        return not self._calm or all(step.is_calm(arrival) for step in self._calm if isinstance(step, BuiltIn))

    async def outward(self, arrival: Arrival, message: Message) -> Message | None:
        """Walk backward with a message for the client; ``None`` drops a notification that a stage failed on."""
        for step in self._outward:
            try:
                message = await step.on_message(arrival, message)
            except Exception as error:
                self._failed(step, error, arrival)
                if message.kind is Kind.RESPONSE:
                    return failure(message.id, INTERNAL_ERROR, "Internal error")
                return None
        return message

    async def leave(self, arrival: Arrival, outcome: Outcome) -> None:
        """Tell every stage that was entered how the exchange ended, exactly once."""
        for number, step in self._ends:
            if number > arrival.reached:
                continue
            try:
                await step.on_end(arrival, outcome)
            except Exception as error:
                self._complain(type(step).__name__, type(error).__name__)

    def _failed(self, step: Step, error: Exception, arrival: Arrival) -> Reply:
        self._complain(type(step).__name__, type(error).__name__)
        arrival.fault = "internal"
        return refusal(500, INTERNAL_ERROR, "Internal error", arrival.identifier)


def plugin_steps(configs: Iterable[MiddlewareConfig], recipes: Mapping[str, MiddlewareRecipe]) -> list[Step]:
    """Build the middleware that a workload asks for.

    :raises PluginNotFound: when a recipe is missing: the route fails closed.
    :raises PluginBroken: when a recipe fails, or builds for another stage than it declares.
    :raises ThvError: what a recipe says of its parameters.
    """
    steps: list[Step] = []
    for config in configs:
        recipe = recipes.get(config.type)
        if recipe is None:
            raise PluginNotFound(
                f"no installed plugin offers the middleware {config.type!r}",
                hint="Install the plugin, or remove the middleware from the workload.",
            )
        steps.append(_built(config, recipe))
    return steps


def _built(config: MiddlewareConfig, recipe: MiddlewareRecipe) -> Step:
    try:
        step = recipe.build(config.parameters)
    except ThvError:
        raise
    except Exception as error:
        raise PluginBroken(f"the middleware {config.type!r} could not be built: {type(error).__name__}") from error
    if step.stage != recipe.stage:
        raise PluginBroken(f"the middleware {config.type!r} declares {recipe.stage.name} and is {step.stage.name}")
    return step


def _at_once(step: Step) -> Callable[[Arrival], Reply | None] | None:
    """Return the way through a built-in stage that never waits, without a coroutine."""
    return step.at_once if isinstance(step, BuiltIn) and _overrides(step, "at_once") else None


def _enters(step: Step) -> bool:
    return _overrides(step, "on_request") or _at_once(step) is not None


def _overrides(step: Step, name: str) -> bool:
    method = getattr(step, name)
    function = method.__func__ if isinstance(method, types.MethodType) else method
    return function not in (getattr(Middleware, name, None), getattr(BuiltIn, name))
