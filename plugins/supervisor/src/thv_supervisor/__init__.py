"""The processes that keep servers running, and the commands that speak to them.

``supervise`` is the parent (standard library only); ``control`` decides what should run; ``gateway_process`` gives the
chosen gateway its seat. Nothing here knows how a server is isolated or how a request is carried.
"""
