"""An MCP server for tests and benchmarks, on the standard library alone and in both eras of the protocol.

It starts in a few dozen milliseconds with ``python -m thv_testkit.echo`` or, where nothing is installed, with the
absolute path of its ``__main__.py``. Nothing here may import the rest of thv, or a module that is slow to import.
"""
