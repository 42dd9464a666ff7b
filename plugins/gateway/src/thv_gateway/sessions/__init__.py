"""Clients' sessions: their ids, what is remembered of them, and what servers asked them."""
