from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_core.data import decode_image
from genie_view.dataset_view import dataset_recording, dataset_view
from genie_view.recording import write_recordings
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file
from tests.support.recordings import column, verify

pytestmark = pytest.mark.usefixtures("strict")


def test_a_dataset_is_shown_whole_and_every_moment_leads_to_its_picture(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=3, frames=12))
    view = dataset_view(labelled)
    assert view.count_K.sum() == 3 * 11
    assert [one.labelled for one in view.episodes] == [11, 11, 11]
    path = tmp_path / "x.rrd"
    write_recordings(path, [dataset_recording(view, labelled)])
    verify(path)
    pictures = column(path, "/moment/picture", "EncodedImage:blob", timeline="moment")
    places = column(path, "/map/here", "Points2D:positions", timeline="moment")
    assert sorted(pictures) == list(range(33))
    row = view.moments[20]
    np.testing.assert_allclose(places[20][0], view.place_N2[row], rtol=1e-6)
    name, frame = view.episodes[view.episode_N[row]].name, int(view.frame_N[row])
    episode = labelled.episode(name)
    assert episode is not None
    shown = decode_image(bytes(pictures[20][0])).astype(int)
    assert np.abs(shown - episode.frames(frame, frame + 1)[0]).mean() < 12  # a JPEG of it
    (labels,) = column(path, "/map/transitions", "Points2D:labels").values()
    assert labels[row].startswith(f"{name} frame {frame}, code ")
    (place,) = column(path, "/map/moments/20", "Points2D:positions").values()
    np.testing.assert_allclose(place[0], view.place_N2[row], rtol=1e-6)  # its point, which, selected, shows
    (selected,) = column(path, "/map/moments/20", "EncodedImage:blob").values()
    assert bytes(selected[0]) == bytes(pictures[20][0])
