"""What is particular to the modern era of MCP: what is of it, its rules, and its clients at older servers."""
