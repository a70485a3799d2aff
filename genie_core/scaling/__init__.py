"""How loss falls with the size of the dynamics model, with the batch and with arithmetic (the paper's Figure 9)."""
