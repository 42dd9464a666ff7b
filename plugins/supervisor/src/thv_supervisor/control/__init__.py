"""The control process: what should run. It may be slow; nothing on the request path waits for it.

``reconciler`` has a keeper for each workload; ``keeping`` looks and takes one step after the other, and its acts are in
``starting``, ``clearing``, ``retrying`` and ``changing``, over what is ``tended``. ``replacing`` admits a change,
``adopting`` clears away what belongs to nobody. ``observing`` watches the runtimes, ``gateway_link`` speaks to the
gateway, ``api`` to everyone else. Decisions are pure and live in ``thv_core.services``.
"""
