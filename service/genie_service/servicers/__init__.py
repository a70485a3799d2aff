"""Services of the contract: each method translates its request, lets the core work, and translates the result."""
