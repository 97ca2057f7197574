"""likewise: an edge cache for approximate computation reuse."""
