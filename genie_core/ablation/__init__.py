"""Ablations: models and recipes trained and evaluated on the same budget, as in the paper's tables."""
