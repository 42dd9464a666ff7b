"""Secret stores on this machine, one module each; stores that ask a service live in distributions of their own.

A module here imports what it needs to reach its place (a keyring, a cipher) when it is chosen, and not before.
"""
