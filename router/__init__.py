"""The gateway: admit, decide, forward, record."""
