"""The embedded runtime: servers in bubblewrap sandboxes, without a daemon and without root.

Here belongs what turns a deployment plan into a bubblewrap process and finds it again. What a server may see or reach
is decided by the plan; what its package consists of, by a builder; who talks to it, by the gateway.
"""
