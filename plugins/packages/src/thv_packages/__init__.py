"""Prepare MCP servers from packages of PyPI (``uvx://``) and npm (``npx://``) as read-only roots.

What keeps roots, asks an index over HTTP or starts a program belongs here; what only one index knows lies in a package
of its own. Running a root may not, nor code of any package outside of a workshop.
"""
