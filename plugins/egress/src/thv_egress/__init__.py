"""The egress ``names``: what a server reaches is decided by name, connected by us, and recorded.

It runs on the event loop of the gateway and uses bare non-blocking sockets. Here belongs everything between a socket
inside a server's namespace and the outside; how that socket came to be does not, nor do profiles and their meaning.
"""
