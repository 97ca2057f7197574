"""Results: how outputs become one, and what makes two of them equal."""
