"""Servers that speak the HTTP of MCP themselves and are relayed to, exchange by exchange."""
