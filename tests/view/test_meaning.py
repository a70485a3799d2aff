"""What codes mean by the robot's own record, and where simulations start."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_api.v1 import models_pb2
from genie_cli.demo_run import HORIZON, liveliest_moment
from genie_client import ModelInfo, messages
from genie_client.prompt import Moment, read_prompt
from genie_core.data import encode_image
from genie_core.errors import DatasetError, GenieError
from genie_view.meaning import END_EFFECTOR, Motion, code_motions
from tests.factories.data import make_frames, make_robomimic, make_video
from tests.factories.labelled import label_file


@pytest.fixture
def info() -> ModelInfo:
    return messages.model_info(
        models_pb2.Model(
            name="models/tiny", frame_height=32, frame_width=32, model_fps=10, context_frames=4, precision="float32"
        )
    )


def test_the_motion_of_each_code_is_the_mean_over_its_transitions(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "lift.hdf5", episodes=2, frames=17)
    for_codes = np.array([[0.02, 0, 0], [0, -0.03, 0.02], [0, 0, 0.001], *[[0, 0, 0]] * 5])
    with h5py.File(source, "a") as file:
        for demo in file["data"].values():
            steps = for_codes[np.arange(16) % 8]
            demo[END_EFFECTOR][:] = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    motions = code_motions(label_file(source))
    assert motions is not None
    assert [str(motion) for motion in motions[:3]] == ["+x 2.0 cm", "-y +z 3.6 cm", "still"]
    assert [(motion.count, motion.agreement) for motion in motions] == [(4, 1.0)] * 8


def test_motions_that_cancel_out_are_not_called_still() -> None:
    assert str(Motion(10, np.zeros(3), 0.3)) == "no one way"
    assert str(Motion(0, np.zeros(3), 0.0)) == "not used"


def test_there_is_no_motion_without_the_robots_record(tmp_path: Path) -> None:
    assert code_motions(label_file(make_video(tmp_path / "clip.mp4"))) is None


def test_the_liveliest_moment_shows_the_most_codes(tmp_path: Path, info: ModelInfo) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1, frames=30), step=2)
    moment = liveliest_moment(labelled, info)
    assert moment.frames_THWC.shape == (HORIZON + 1, 32, 32, 3)
    assert moment.codes == [(moment.frame + 2 * j) % 8 for j in range(HORIZON)]
    with pytest.raises(GenieError, match="no episode has 9 transitions"):
        liveliest_moment(label_file(make_robomimic(tmp_path / "short.hdf5", frames=9)), info)


def test_a_picture_is_a_prompt_of_one_frame(tmp_path: Path, info: ModelInfo) -> None:
    frame = make_frames(1, 48, 64)
    (tmp_path / "scene.png").write_bytes(encode_image(frame[0]))
    np.testing.assert_array_equal(read_prompt(tmp_path / "scene.png", info, Moment()), frame)


@pytest.mark.parametrize(
    ("fps", "frame", "expected"),
    [(10, 9, [6, 7, 8, 9]), (10, 2, [0, 1, 2]), (20, 9, [3, 5, 7, 9]), (20, 0, [0]), (None, 9, [9])],
)
def test_a_moment_is_a_prompt_of_the_frames_before_it_at_the_models_rate(
    tmp_path: Path, info: ModelInfo, fps: float | None, frame: int, expected: list[int]
) -> None:
    data = make_robomimic(tmp_path / "lift.hdf5", episodes=2, frames=12, size=64, fps=fps)
    prompt = read_prompt(data, info, Moment("demo_1", frame))
    np.testing.assert_array_equal(prompt, make_frames(12, 64, 64, seed=1)[expected])


def test_a_moment_that_is_not_there_is_refused(tmp_path: Path, info: ModelInfo) -> None:
    data = make_robomimic(tmp_path / "lift.hdf5", episodes=1, frames=12)
    with pytest.raises(DatasetError, match="no episode `demo_7`"):
        read_prompt(data, info, Moment("demo_7"))
    with pytest.raises(DatasetError, match="no frame 12, only 0 to 11"):
        read_prompt(data, info, Moment(None, 12))
