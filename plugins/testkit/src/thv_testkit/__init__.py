"""What a plugin's author tests with: a conformance class for each contract, fakes, fixtures and an echo server.

Nothing here may import a plugin, and nothing of the product imports this package. :mod:`thv_testkit.fixtures` is loaded
whenever pytest starts and stays light; every other module is imported by the tests that use it.
"""
