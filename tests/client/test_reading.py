from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factories_data import make_label_model
from factories_labelled import make_labels
from factories_lerobot import make_lerobot_v21, make_lerobot_v30
from genie_client.reading import frames_of
from genie_core.data import LabelWriter, open_dataset, open_labelled


@pytest.mark.parametrize("make", [make_lerobot_v21, make_lerobot_v30])
def test_labels_without_frames_find_them_in_their_lerobot_dataset(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    dataset = open_dataset(make(tmp_path / "set"))
    writer = LabelWriter(tmp_path / "set.labelled.hdf5", dataset, make_label_model(), frames="none")
    for episode in dataset.episodes:
        writer.add(episode, make_labels(episode.num_frames))
    labelled = open_labelled(writer.finish())
    for name, episode in zip(labelled.episodes, dataset.episodes, strict=True):
        found = frames_of(labelled, name)
        assert found is not None
        np.testing.assert_array_equal(found.frames(), episode.frames())
