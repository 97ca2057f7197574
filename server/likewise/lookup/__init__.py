"""Lookup: what is cached of one function version, found by nearness of keys."""
