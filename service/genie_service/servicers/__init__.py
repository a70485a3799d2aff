"""The services of the contract: each method translates its request, has the core do the work, translates the result."""
