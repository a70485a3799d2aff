"""Makes palettes: what codes do, without any bundle."""

from __future__ import annotations

from genie_core.data import encode_image
from genie_core.data.code_meanings import CodeMeaning, CodeMeanings
from tests.factories.data import make_frames

BUNDLE = "ab" * 32


def make_meanings(codes: int = 2, bundle_id: str = BUNDLE) -> CodeMeanings:
    jpeg = encode_image(make_frames(1, 16, 16)[0], "jpeg")
    one = CodeMeaning(
        words="up left",
        share=0.5,
        motion_px=(-1.0, -2.0),
        agreement=0.9,
        robot="+x 2.4 cm",
        picture=jpeg,
        examples=jpeg,
    )
    return CodeMeanings(
        bundle_id=bundle_id, bundle_name="nano", data="x.hdf5", episodes=1, transitions=9, codes=(one,) * codes
    )


__all__ = ["BUNDLE", "make_meanings"]
