"""robomimic's own dataset, and a short behaviour cloning, on what Genie writes. Run by `run.py`."""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import robomimic
import robomimic.utils.obs_utils as ObsUtils
import robomimic.utils.train_utils as TrainUtils
import torch
from robomimic.config import config_factory
from robomimic.scripts.train import train
from robomimic.utils.dataset import SequenceDataset
from torch.utils.data import DataLoader

CAMERA = "agentview_image"
FIELDS = {"latent": "latent", "code": "code", "confidence": "confidence", "valid": "valid"}
"""Of `latent_actions`, and what `expected.npz` calls them."""
DECODED = {"action": "decoded"}
LATENT = "latent_actions/latent"
LEARNT = (("robomimic.hdf5", LATENT), ("robomimic-aligned.hdf5", "latent_actions/action"))
LEARNT_BY_OLD = (("robomimic.hdf5", "actions"),)
HAS_ACTION_KEYS = "action_keys" in inspect.signature(SequenceDataset.__init__).parameters
"""Whether this robomimic (0.4 and newer) can learn other actions than those called ``actions``."""


def main(data: Path) -> None:
    """Read every frame's labels of both kinds of file, then train on them."""
    print("robomimic", robomimic.__version__, "torch", torch.__version__, "h5py", version("h5py"))
    ObsUtils.initialize_obs_utils_with_obs_specs({"obs": {"rgb": [CAMERA], "low_dim": []}})
    expected = dict(np.load(data / "expected.npz"))
    for name in ("labelled.hdf5", "robomimic.hdf5"):
        check_dataset(data / name, expected, FIELDS)
    for name in ("aligned.hdf5", "robomimic-aligned.hdf5"):
        check_dataset(data / name, expected, FIELDS | DECODED)
    for name, key in LEARNT if HAS_ACTION_KEYS else LEARNT_BY_OLD:
        losses = clone(data / name, key)
        print(f"behaviour cloning of `{key}`, loss by epoch: {' '.join(f'{loss:.4f}' for loss in losses)}")
        assert losses[-1] < losses[0], "the loss did not fall"


def check_dataset(path: Path, expected: dict[str, np.ndarray], fields: dict[str, str]) -> None:
    """Read a file through `SequenceDataset`; raises where a label, picture or action is not the one expected."""
    keys = tuple(f"latent_actions/{field}" for field in fields)
    options: dict[str, Any] = {"dataset_keys": (*keys, "actions")}
    if HAS_ACTION_KEYS:
        options |= {"action_keys": ("actions",), "action_config": {"actions": {"normalization": None}}}
    dataset = SequenceDataset(
        hdf5_path=str(path), obs_keys=(CAMERA,), hdf5_cache_mode=None, load_next_obs=False, seq_length=1, **options
    )
    items = [dataset[index] for index in range(len(dataset))]
    for name, key in zip(fields.values(), keys, strict=True):
        np.testing.assert_array_equal(np.stack([item[key][0] for item in items]), expected[name])
    actions = np.stack([item["actions"][0] for item in items])
    np.testing.assert_allclose(actions, expected["actions"], rtol=1e-6)
    pictures = np.stack([item["obs"][CAMERA][0] for item in items])
    np.testing.assert_array_equal(np.asarray(pictures).reshape(expected["frames"].shape), expected["frames"])
    with_two = SequenceDataset(
        hdf5_path=str(path), obs_keys=(CAMERA,), hdf5_cache_mode=None, load_next_obs=False, seq_length=5, **options
    )
    frames = sum(len(batch[LATENT]) for batch in DataLoader(with_two, batch_size=16, shuffle=True))
    read = ", ".join([*fields, "pictures"])
    print(f"{path.name}: {dataset.n_demos} demos, {frames} sequences of 5: actions, {read} are right")


def clone(path: Path, key: str) -> list[float]:
    """Train robomimic's BC on pictures for a few epochs by its own training script; its loss by epoch."""
    config = config_factory("bc")
    with config.values_unlocked(), tempfile.TemporaryDirectory() as folder:
        config.experiment.name = "conformance"
        config.experiment.rollout.enabled = config.experiment.save.enabled = config.experiment.validate = False
        config.experiment.logging.terminal_output_to_txt = config.experiment.logging.log_tb = False
        config.experiment.epoch_every_n_steps = 10
        config.train.data, config.train.output_dir = str(path), folder
        config.train.hdf5_cache_mode, config.train.hdf5_load_next_obs = None, False
        config.train.num_epochs, config.train.batch_size, config.train.cuda = 4, 16, False
        config.train.num_data_workers = 0
        config.train.dataset_keys = (key,)
        if HAS_ACTION_KEYS:
            config.train.action_keys = [key]
            config.train.action_config = {key: {"normalization": None}}
        config.observation.modalities.obs.low_dim = []
        config.observation.modalities.obs.rgb = [CAMERA]
        with recorded_losses() as losses:
            train(config, device=torch.device("cpu"))
    return losses


@contextmanager
def recorded_losses() -> Iterator[list[float]]:
    """A list in which the training script's epochs leave their loss."""
    losses: list[float] = []
    run_epoch = TrainUtils.run_epoch

    def recorded(*words: Any, **named: Any) -> Any:
        log = run_epoch(*words, **named)
        losses.append(float(log["Loss"]))
        return log

    TrainUtils.run_epoch = recorded
    try:
        yield losses
    finally:
        TrainUtils.run_epoch = run_epoch


if __name__ == "__main__":
    main(Path(sys.argv[1]))
