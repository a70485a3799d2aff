"""Ablations: networks and recipes trained and evaluated on one budget, as the paper's tables compare them."""
