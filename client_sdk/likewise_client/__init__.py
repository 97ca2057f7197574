"""Thin client for likewise, the edge cache for approximate computation reuse."""
