"""What clients meet: listeners, the HTTP of one connection, and the way from a request to who answers it."""
