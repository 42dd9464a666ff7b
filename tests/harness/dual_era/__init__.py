"""A server of both eras on the real SDK, with all that conformance suites and our matrix ask of one."""
