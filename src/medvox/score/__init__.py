"""How good a result is: text normalisers, alignment, error rates with intervals."""
