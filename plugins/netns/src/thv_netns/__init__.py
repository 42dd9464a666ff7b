"""A short-lived program that enters a network namespace, makes sockets there and hands them out.

It stands on the standard library alone and is run by its path: nothing here is imported by the rest of thv.
"""
