"""Servers that are spoken to message by message over a duplex: calls in flight, who is told what, and the way back."""
