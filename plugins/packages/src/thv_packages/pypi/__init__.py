"""Packages of PyPI, ``uvx://``: names, versions, locks, wheels and sources, and the environments made of them.

What another kind of package needs too belongs one level up.
"""
