"""The core of thv: model, contracts, plugin loading, state, services and the composition root.

Layers, top to bottom: ``kernel > services > loading | state > spi > model > errors``. No SDK, no HTTP server
and no command line lives here. Vendors import :mod:`thv_core.spi` and :mod:`thv_core.errors`, nothing else.
"""

__version__ = "0.1.0"
