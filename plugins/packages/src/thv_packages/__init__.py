"""Prepare MCP servers from packages of PyPI (``uvx://``) as read-only roots.

What asks the index, installs wheels and keeps the prepared roots belongs here. Running a root, and code of any
package, may not.
"""
