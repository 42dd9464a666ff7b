"""The one chain of stages, and those that every workload has. What answers a request is elsewhere."""
