"""The control process: what should run. It may be slow; nothing on the request path waits for it.

``keeping`` reconciles one workload, ``observing`` watches the runtimes, ``gateway_link`` speaks to the gateway,
``api`` to everyone else. Decisions are pure and live in ``thv_core.services``.
"""
