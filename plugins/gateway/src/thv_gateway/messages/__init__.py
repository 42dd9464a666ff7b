"""JSON-RPC messages as bytes: parsed once, spliced, written as lines or events. Nothing here knows who speaks."""
