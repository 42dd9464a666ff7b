"""What a server tells its clients unasked: lists that changed, resources that were updated, and log messages."""

from __future__ import annotations

import contextlib
from typing import Any, get_args

import anyio
import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged

LEVELS: tuple[str, ...] = get_args(types.LoggingLevel)

CHANGED = {
    "tools": (ToolsListChanged, types.ToolListChangedNotification),
    "prompts": (PromptsListChanged, types.PromptListChangedNotification),
    "resources": (ResourcesListChanged, types.ResourceListChangedNotification),
}

Context = ServerRequestContext[Any, Any]


def session_of(context: Context) -> str:
    """Return the name of a legacy session; on pipes there is one, without a name."""
    request = context.request
    if request is None:
        return ""
    return request.headers.get("mcp-session-id") or request.query_params.get("session_id") or ""


class Telling:
    """Tells the subscriptions of the modern era by a bus, and legacy sessions one by one."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self._sessions: dict[str, ServerSession] = {}
        self._subscribers: dict[str, dict[str, ServerSession]] = {}
        self._levels: dict[str, str] = {}

    async def meet(self, context: Context, call_next: CallNext) -> HandlerResult:
        """Remember each legacy session that has begun; this is a middleware."""
        if context.method == "notifications/initialized":
            self._sessions[session_of(context)] = context.session
        return await call_next(context)

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Tell this session of updates of a resource."""
        self._subscribers.setdefault(params.uri, {})[session_of(context)] = context.session
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Tell this session no more of them."""
        self._subscribers.get(params.uri, {}).pop(session_of(context), None)
        return types.EmptyResult()

    async def set_level(self, context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        """Send this session nothing less severe."""
        self._levels[session_of(context)] = params.level
        return types.EmptyResult()

    async def log(self, context: Context, level: types.LoggingLevel, text: str) -> None:
        """Send a log message about a call, where its client wants such."""
        least = self._levels.get(session_of(context), "debug")
        if LEVELS.index(level) >= LEVELS.index(least):
            await context.session.send_log_message(level, text, "fixture", context.request_id)

    async def changed(self, kind: str) -> None:
        """Say that the list of ``tools``, ``prompts`` or ``resources`` changed."""
        event, notification = CHANGED[kind]
        await self.bus.publish(event())
        await _tell(self._sessions, notification())

    async def updated(self, uri: str) -> None:
        """Say that a resource was updated."""
        await self.bus.publish(ResourceUpdated(uri=uri))
        params = types.ResourceUpdatedNotificationParams(uri=uri)
        await _tell(self._subscribers.get(uri, {}), types.ResourceUpdatedNotification(params=params))


async def _tell(sessions: dict[str, ServerSession], notification: types.ServerNotification) -> None:
    for session in list(sessions.values()):
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await session.send_notification(notification)
