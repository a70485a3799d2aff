# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Counterfactuals: what would have happened?
#
# From one frame of a recording, the futures that different latent actions lead to, side by side. Run it as a notebook
# (`jupytext --to ipynb examples/counterfactuals.py`) or as it is: `python examples/counterfactuals.py [OUT.png]`.

# %%
# ruff: noqa: D100
from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from genie_client import Client
from genie_client.embedded import embedded_server
from genie_core.bundles import shipped
from genie_core.data import encode_image, open_dataset
from genie_core.data.samples import sample_path

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "counterfactuals.png")
HORIZON = 6

# %% [markdown]
# A server with the shipped model that moves frames, and the recording that ships with Genie: a simulated Panda.

# %%
episode = open_dataset(sample_path()).episodes[0]
running = ExitStack()
client = running.enter_context(Client(running.enter_context(embedded_server(shipped("motion")))))
model = client.model()
labels = client.label(episode.frames(), fps=episode.fps, step=1)

# %% [markdown]
# The moment to start from is where most moves: the longest latents for `HORIZON` frames.

# %%
moves = np.linalg.norm(labels.latent, axis=1)
start = int(np.convolve(moves, np.ones(HORIZON), "valid").argmax())
prompt = episode.frames(start, start + 1)
recorded = labels.latent[start : start + HORIZON]

# %% [markdown]
# Counterfactuals in latents: what was done, the opposite, twice as much, and nothing. And each of the codes, held.

# %%
replayed, opposite, doubled = client.branch(prompt, [recorded, -recorded, 2 * recorded])
nothing = client.rollout(prompt, latents=np.zeros_like(recorded))
codes = client.branch(prompt, [[code] * HORIZON for code in range(model.num_codes)])
running.close()

# %% [markdown]
# What happened, on top; then the replay, the opposite, doubled, nothing; then a row for each code.

# %%
happened = episode.frames(start + 1, start + 1 + HORIZON)
rows = [happened, replayed, opposite, doubled, nothing, *codes]
sheet = np.concatenate([np.concatenate([prompt[0], *row], axis=1) for row in rows], axis=0)
OUT.write_bytes(encode_image(sheet))


# %% [markdown]
# The replay should end nearer to what happened than standing still does, and the opposite further away.


# %%
def error(video: np.ndarray) -> float:
    """Mean squared error against what happened, of colours in [0, 1]."""
    return float(np.square((video.astype(float) - happened) / 255).mean())


for name, video in (("replayed", replayed), ("nothing", nothing), ("opposite", opposite)):
    print(f"{name}: error {error(video):.5f}")
print(f"wrote {OUT}: {len(rows)} rows of {HORIZON + 1} frames")
