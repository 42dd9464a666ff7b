"""The ``thv`` command: its root, its console and the commands about thv itself.

Every subcommand, those of this distribution included, is an entry point of group ``thv.commands``. What a command does
belongs to the plugin that offers it; nothing here may import what ``thv --help`` does not need.
"""
