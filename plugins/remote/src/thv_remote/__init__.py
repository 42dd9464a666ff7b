"""Servers that run somewhere else. What speaks to them, or authenticates there, may not live here."""
