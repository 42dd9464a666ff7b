"""The face of HTTP and SSE (MCP 2024-11-05) for clients that speak no other: streams, and messages posted beside them.

Each message goes the way of any other request, through the whole chain to whatever server. No policy belongs here.
"""
