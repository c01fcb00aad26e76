"""Verdicts on the paper's claims and on their tests, as in claims.csv and effects.csv."""

SUPPORTED = "supported"
NOT_SUPPORTED = "not supported"
INCONCLUSIVE = "inconclusive"
NOT_TESTED = "not tested"
