"""What a hit may risk: the price of a token, in probes."""

from __future__ import annotations

MAX_ERROR = 0.45
"""Probability of being wrong above which no hit is worth it: computed, such requests are free evidence."""
PRICE = 3.0
"""Probes that spending one token of 1 + tokens costs in the end, times ε: see `highest_acceptable_error`."""
FIRST_PRICE = 1.0
"""The same among the first requests, when being refused costs as much as being wrong: `PRICE` comes"""
PRICE_AFTER = 120.0
"""with so many requests for half of the way."""
HARDER = 0.5
"""How much more a wrong answer of a variant counts at first: who comes so far is among the hardest to judge."""
HARDER_FOR = 500.0
"""Requests after which that is half as much: by then variants are judged by what they said here."""
PRUDENCE = 0.5
"""How much more often than it must a risky would-be hit is probed, so that one detection costs fewer tokens."""


def price_after(requests: int) -> float:
    """Return the price of a token after so many requests."""
    return PRICE - (PRICE - FIRST_PRICE) / (1.0 + requests / PRICE_AFTER)


def variant_price_after(requests: int) -> float:
    """Return the same for answers of variants."""
    return (1.0 + HARDER / (1.0 + requests / HARDER_FOR)) * price_after(requests)


def highest_acceptable_error(epsilon: float, tokens: float, price: float) -> float:
    """Return the largest probability of being wrong that is worth a hit at these tokens.

    A request is worth a hit while its chance to be right outweighs what the tokens that it may cost would save:
    probes come at a rate of 1 / (1 + tokens) and tokens at ε, so n requests take ln(1 + ε·n / (1 + tokens)) / ε
    probes, and one token less costs about 1 / (ε·(1 + tokens)) more of them; `price` times that because what is
    charged is rarely one token, but many at once.
    """
    return min(MAX_ERROR, 1.0 / (1.0 + price / (epsilon * (1.0 + tokens))))
