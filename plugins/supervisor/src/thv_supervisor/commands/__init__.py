"""The commands about workloads: thin click commands that import what is slow when they are invoked."""
