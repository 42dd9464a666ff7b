"""What survives a process: where files lie, how they are written, the SQLite store and the user's ``config.yaml``.

No plugin and no service is known here, and nothing here decides; a file that cannot be used is named, never deleted.
"""
