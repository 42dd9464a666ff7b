"""A thin HTTP client for servers: connections, their pool, and how servers are dialled. It knows no MCP."""
