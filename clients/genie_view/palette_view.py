"""The palette of a bundle, i.e. what each code does, as a Rerun recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from genie_core.data.code_meanings import CodeMeanings
from genie_view.recording import Recording, Scene, write_recordings


def write_palette_recording(path: Path, meanings: CodeMeanings) -> None:
    """Write the palette as a Rerun recording: a picture and examples a code, shares, and the table."""
    used = [code for code, one in enumerate(meanings.codes) if one.picture]
    views = [
        rrb.Vertical(
            rrb.Spatial2DView(origin=f"codes/{code}/motion", name=f"{code} {meanings.words[code]}"),
            rrb.Spatial2DView(origin=f"codes/{code}/examples", name=f"{code}: before, after"),
            row_shares=[2, 1],
        )
        for code in used
    ]
    table = rrb.Vertical(
        rrb.TextDocumentView(origin="table", name="codes"), rrb.BarChartView(origin="share", name="share of each code")
    )
    blueprint = rrb.Horizontal(table, rrb.Grid(*views), column_shares=[1, 2], name="palette")

    def log(recording: rr.RecordingStream) -> None:
        for code in used:
            one = meanings.codes[code]
            for name, jpeg in (("motion", one.picture), ("examples", one.examples)):
                recording.log(
                    f"codes/{code}/{name}", rr.EncodedImage(contents=jpeg, media_type="image/jpeg"), static=True
                )
        recording.log("share", rr.BarChart(np.array([one.share for one in meanings.codes])), static=True)
        recording.log("table", rr.TextDocument(_markdown(meanings), media_type="text/markdown"), static=True)
        recording.send_property("palette", rr.AnyValues(bundle_id=meanings.bundle_id, data=meanings.data))

    write_recordings(path, [Recording("genie palette", meanings.bundle_name, [Scene(blueprint, log)], None)])


def _markdown(meanings: CodeMeanings) -> str:
    rows = "".join(
        f"| {code} | {one.words} | {one.robot or ''} | {one.share:.1%} | "
        f"{'' if one.round_trip is None else f'{one.round_trip:.0%}'} |\n"
        for code, one in enumerate(meanings.codes)
    )
    return f"| code | picture | robot | share | read back |\n| --- | --- | --- | --- | --- |\n{rows}"


__all__ = ["write_palette_recording"]
