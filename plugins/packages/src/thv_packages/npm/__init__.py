"""Packages of npm, ``npx://``: names, registries, Node, locks, and the folders of modules made of them.

What another kind of package needs too belongs one level up.
"""
