"""Functions: named, versioned computations, put together, registered, and what one keeps for its requests."""
