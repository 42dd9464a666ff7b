"""The MCP data plane: listeners, the chain of stages, sessions and the pipes to servers.

What decides whether a server should run, or how it is isolated, may not live here: this package receives a route
snapshot and knows nothing else of thv but the public contract.
"""
