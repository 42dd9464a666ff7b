"""Plugins: the catalog decides from metadata, stevedore loads, pluggy asks; no other package touches entry points.

Nothing here knows a workload, a state or a service, and no module imports a plugin before the catalog approved it.
"""
