"""Actions decoded while labels are made: bit for bit the same however frames come, few frames kept back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_core.alignment import ActionStream, Alignment
from genie_core.data import Density, Labels
from genie_core.errors import RequestError
from genie_core.inference import Labeller
from genie_core.inference.labeller import BLOCK
from genie_core.models.bundle import load_bundle, read_bundle_info
from tests.factories.alignment import make_alignment
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_frames

FRAMES = make_frames(120, 32, 32)


@pytest.fixture(scope="module")
def labeller(tmp_path_factory: pytest.TempPathFactory) -> Labeller:
    return Labeller(load_bundle(make_nano_bundle(tmp_path_factory.mktemp("stream") / "nano")))


@pytest.fixture(scope="module", params=[True, False], ids=["seeing", "blind"])
def alignment(labeller: Labeller, request: pytest.FixtureRequest) -> Alignment:
    return make_alignment(labeller.bundle.info, observe=request.param)


def decode(
    labeller: Labeller, alignment: Alignment, chunks: list[int], step: int, density: Density = "dense"
) -> tuple[Labels, int]:
    """Labels with actions of the frames in such chunks, and the most frames that were kept back after one."""
    stream, actions = labeller.stream(step, density), ActionStream(alignment)
    parts, kept, at = [], 0, 0
    for count in chunks:
        stream.feed(FRAMES[at : at + count])
        actions.feed(FRAMES[at : at + count])
        at += count
        if at == sum(chunks):
            stream.end()
        while blocks := stream.work():
            parts.append(actions.decode(stream.take([labeller.encode([block])[0] for block in blocks])))
        kept = max(kept, actions.kept)
    return Labels.concatenate([*parts, actions.decode(stream.rest())]), kept


@settings(max_examples=12)
@given(data=st.data(), step=st.integers(1, 3))
def test_how_frames_are_cut_changes_no_bit(
    labeller: Labeller, alignment: Alignment, data: st.DataObject, step: int
) -> None:
    total = data.draw(st.integers(2, len(FRAMES)))
    chunks: list[int] = []
    while sum(chunks) < total:
        chunks.append(data.draw(st.integers(0, total - sum(chunks))) or 1)
    whole, _ = decode(labeller, alignment, [len(FRAMES)], step)
    labels, _ = decode(labeller, alignment, chunks, step)
    assert labels.action is not None
    assert whole.action is not None
    final = max(0, total - step)  # an episode that ends sooner has the same actions up to there
    assert labels.action[:final].tobytes() == whole.action[:final].tobytes()
    assert not labels.action[final:].any()


@pytest.mark.parametrize("density", ["dense", "strided"])
def test_each_action_is_that_of_its_label_and_frame(labeller: Labeller, alignment: Alignment, density: Density) -> None:
    labels, kept = decode(labeller, alignment, [20] * 6, 3, density)
    wanted = alignment.decode(labels.latent, labels.code, FRAMES)
    assert labels.action is not None
    np.testing.assert_allclose(labels.action[labels.valid], wanted[labels.valid], rtol=1e-5)
    assert not labels.action[~labels.valid].any()
    assert np.unique(labels.action[labels.valid], axis=0).shape[0] > 10
    assert kept <= (BLOCK * 3 + 3 + 20 if alignment.needs_frames else 0)


def test_labels_whose_frames_have_not_come_are_refused(tmp_path: Path) -> None:
    info = read_bundle_info(make_nano_bundle(tmp_path / "nano"))
    dim = info.codebook.shape[1]
    stream = ActionStream(make_alignment(info, observe=True))
    stream.feed(FRAMES[:10])
    for labels in (Labels.invalid(0, 11, dim), Labels.invalid(3, 2, dim)):
        with pytest.raises(RequestError, match="expected some of 0 to 10"):
            stream.decode(labels)
    assert stream.decode(Labels.invalid(0, 10, dim)).action is not None
    with pytest.raises(RequestError, match="uint8"):
        stream.feed(FRAMES[:2].astype(np.float32))  # type: ignore[arg-type]
