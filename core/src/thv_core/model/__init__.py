"""Frozen values and pure functions: no I/O, no clock, no environment, no plugin.

Every value here is a :class:`thv_core.model.document.Document`: immutable, strict about unknown keys, and the same
bytes in the state, in an export and on the API.
"""
