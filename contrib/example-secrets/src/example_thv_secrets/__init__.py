"""A complete secret store for thv, to copy: secrets in a JSON file that only its owner can read.

``JsonFileStore`` is what the entry point in ``pyproject.toml`` names. Everything that this plugin needs of thv comes
from :mod:`thv_core.spi` and :mod:`thv_core.errors`; nothing else is promised to a plugin.
"""

from example_thv_secrets.store import JsonFileStore

__all__ = ["JsonFileStore"]
