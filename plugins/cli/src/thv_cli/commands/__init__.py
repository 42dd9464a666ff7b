"""The commands about thv itself, one module each, thin: whatever is slow to import is imported inside a command."""
