"""The lives of servers whatever they speak: what a route asks of each, their handshakes, and which is served."""
