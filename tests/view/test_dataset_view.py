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
    times = view.time_M.tolist()
    assert sorted(pictures) == sorted(times)
    assert np.diff(sorted(times)).min() >= 10  # each has room
    row, time = view.moments[20], times[20]
    np.testing.assert_allclose(places[time][0], view.place_N2[row], rtol=1e-6)
    name, frame = view.episodes[view.episode_N[row]].name, int(view.frame_N[row])
    episode = labelled.episode(name)
    assert episode is not None
    shown = decode_image(bytes(pictures[time][0])).astype(int)
    assert np.abs(shown - episode.frames(frame, frame + 1)[0]).mean() < 12  # a JPEG of it
    (labels,) = column(path, "/map/transitions", "Points2D:labels").values()
    assert labels[row].startswith(f"{name} frame {frame}, code ")
    (place,) = column(path, f"/map/moments/{time}", "Points2D:positions").values()
    np.testing.assert_allclose(place[0], view.place_N2[row], rtol=1e-6)  # its point, which, selected, shows
    (selected,) = column(path, f"/map/moments/{time}", "EncodedImage:blob").values()
    assert bytes(selected[0]) == bytes(pictures[time][0])
    said = column(path, "/moment/list", "TextLog:text", timeline="moment")[time]
    assert said == [f"{name}, frame {frame}: code {view.code_N[row]}"]


def test_a_click_on_the_plot_of_moments_leads_to_the_one_clicked_on(tmp_path: Path) -> None:
    """Rerun moves the time to the click's place, and shows what is newest there."""
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=3, frames=12))
    view = dataset_view(labelled)
    path = tmp_path / "x.rrd"
    write_recordings(path, [dataset_recording(view, labelled)])
    shown = np.array(sorted(column(path, "/moment/picture", "EncodedImage:blob", timeline="moment")))
    dots = [column(path, f"/moments/{code}", "Scalars:scalars", timeline="moment") for code in range(8)]
    assert sum(map(len, dots)) == 33
    for time, row in zip(view.time_M.tolist(), view.moments.tolist(), strict=True):
        (height,) = dots[view.code_N[row]][time + 5]
        assert height == pytest.approx(-view.place_N2[row, 1])
        for clicked in range(time, time + 10):  # a little before the dot, a little after
            assert shown[shown <= clicked].max() == time
