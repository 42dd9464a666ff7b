"""One use case per module; each takes what it needs as arguments. No driver is imported, no process is known."""
