"""The control API: one room for each family of operations, and the listeners on which they are served.

A room translates between HTTP and what control can do; nothing is decided here.
"""
