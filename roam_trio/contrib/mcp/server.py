"""The server of tools: the official package `mcp` on trio."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeAlias, cast

import mcp_types as types
from anyio import AsyncFile
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from ...legible import legible
from ...rpc.connection import AnySession
from ...service.descriptor import ServiceDescriptor
from ...service.dynamic import Described, DynamicClient, dynamic
from .calling import Outcome, ToolLimits, call_tool
from .stdio import Lines, Writer, standard_stream
from .tools import Tool, tools_of

__all__ = ["PAGE", "serve_tools", "tool_server"]

PAGE = 100
"""Number of tools in one answer to a program that lists them."""

_Context: TypeAlias = ServerRequestContext[dict[str, Any], Any]


async def serve_tools(
    session: AnySession,
    described: Mapping[str, Described],
    *,
    allow: Iterable[str],
    limits: ToolLimits | None = None,
) -> None:
    """Offer the methods of services as tools, over standard input and output.

    Opens a virtual connection for each service that is not on the root connection.
    Returns when standard input ends. Cancelling it cancels the calls of tools that are
    running.

    Args:
        session: the session with the peer.
        described: descriptions of services by the names under which the peer offers
            them, such as those of `describe_remote`.
        allow: the names of the services to offer. The program at the other end of
            standard input can call each of their methods.
        limits: bounds of one call; by default those of `ToolLimits`.

    Raises:
        LookupError: a service is not described.
        SchemaError: there are too many tools, or a schema would be too long.
        SessionRejected: the peer does not offer a service.
        ConnectionLost: see `Session.open_connection`.
    """
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(
                dynamic(session, name, described, for_json=True)
            )
            for name in allow
        }
        services = {name: described[name] for name in clients}
        server = tool_server(clients, services, limits or ToolLimits())
        stdin = await stack.enter_async_context(standard_stream(0))
        stdout = await stack.enter_async_context(standard_stream(1))
        reading, writing = await stack.enter_async_context(
            stdio_server(
                # These have the methods that it calls.
                cast("AsyncFile[str]", Lines(stdin)),
                cast("AsyncFile[str]", Writer(stdout)),
            )
        )
        await server.run(reading, writing, server.create_initialization_options())


def tool_server(
    clients: Mapping[str, DynamicClient],
    services: Mapping[str, Described],
    limits: ToolLimits,
) -> Server[dict[str, Any]]:
    """Return the server of the tools of services.

    Args:
        clients: clients with values of JSON, by the names of the services.
        services: the descriptions of the services.
        limits: bounds of one call.
    """
    tools = tools_of({name: _schema_of(each) for name, each in services.items()})

    async def list_tools(
        context: _Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        start = _start_of(params.cursor if params else None, len(tools))
        page = [*tools.values()][start : start + PAGE]
        end = start + len(page)
        return types.ListToolsResult(
            tools=[_told(tool) for tool in page],
            next_cursor=str(end) if end < len(tools) else None,
        )

    async def call(
        context: _Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            raise _refused(f"there is no tool {legible(params.name, 100)!r}")

        async def progress(count: int, item: str) -> None:
            await context.session.report_progress(count, message=item)

        client = clients[tool.service]
        arguments = params.arguments or {}
        return _result(await call_tool(client, tool, arguments, limits, progress))

    return Server("roam-trio", on_list_tools=list_tools, on_call_tool=call)


def _schema_of(described: Described) -> Any:
    return described.schema if isinstance(described, ServiceDescriptor) else described


def _start_of(cursor: str | None, count: int) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise _refused("there is no such page of tools")
    return min(int(cursor), count)


def _refused(text: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, text)


def _told(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=types.ToolAnnotations(
            read_only_hint=tool.is_read_only, idempotent_hint=tool.is_idempotent
        ),
    )


def _result(outcome: Outcome) -> types.CallToolResult:
    if outcome.value is None:
        text = types.TextContent(type="text", text=outcome.error)
        return types.CallToolResult(content=[text], is_error=True)
    text = types.TextContent(
        type="text", text=json.dumps(outcome.value, ensure_ascii=False)
    )
    return types.CallToolResult(content=[text], structured_content=outcome.value)
