"""The place of this process among others: control's orders, sockets that were handed over, and logs."""
