"""The page of ``genie play``: a small web server that simulates a robot one latent action at a time."""
