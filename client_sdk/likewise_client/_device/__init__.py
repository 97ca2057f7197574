"""The device's own tier: a small cache that answers without a server, within what a lease lets it."""
