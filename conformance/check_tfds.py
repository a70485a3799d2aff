"""TensorFlow Datasets' own reader, TensorFlow's own decoders, against our RLDS export. Run by `run.py`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

CAMERA = "agentview_image"
PSNR_DB = 30


def main(data: Path) -> None:
    """Run all checks; raises where one fails."""
    print(*(f"{name} {version(name)}" for name in ("tensorflow-cpu", "tensorflow-datasets", "numpy")))
    expected = dict(np.load(data / "expected.npz"))
    builder = tfds.builder_from_directory(data / "rlds")
    episodes = list(tfds.as_numpy(builder.as_dataset(split="train")))
    assert len(episodes) == builder.info.splits["train"].num_examples == expected["episode"].max() + 1
    for number, episode in enumerate(episodes):
        chosen = expected["episode"] == number
        check_episode(list(episode["steps"]), {key: values[chosen] for key, values in expected.items()})
        assert episode["episode_metadata"]["episode"].decode() == f"demo_{number}"
    print(f"{len(episodes)} episodes, {len(expected['episode'])} steps: labels to the bit")


def check_episode(steps: list[dict[str, Any]], expected: dict[str, np.ndarray]) -> None:
    """Labels and actions to the bit, pictures but for JPEG, marks and words."""
    assert len(steps) == len(expected["code"])
    for key, name in (("code", "code"), ("latent", "latent"), ("confidence", "confidence"), ("valid", "valid")):
        found = np.stack([step["latent_action"][key] for step in steps])
        np.testing.assert_array_equal(found, expected[name].astype(found.dtype))
    np.testing.assert_array_equal(np.stack([step["action"] for step in steps]), expected["actions"].astype(np.float32))
    pictures = np.stack([step["observation"][CAMERA] for step in steps])
    assert pictures.dtype == np.uint8
    error = np.mean((pictures / 255 - expected["frames"] / 255) ** 2)
    assert -10 * np.log10(error) > PSNR_DB
    assert [bool(step["is_first"]) for step in steps] == [at == 0 for at in range(len(steps))]
    assert [bool(step["is_last"]) for step in steps] == [at == len(steps) - 1 for at in range(len(steps))]
    assert {step["language_instruction"].decode() for step in steps} == {"Lift the cube."}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
