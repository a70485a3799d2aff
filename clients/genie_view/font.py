"""A 5 x 7 bitmap font for text in pictures, so that the base install needs no drawing library. Capitals only."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH, SPACING = 7, 5, 1
"""Size of a glyph and the gap after it, in pixels at scale 1."""

# Seven rows per glyph, two hexadecimal digits per row, the leftmost pixel in bit 4.
_GLYPHS = {
    " ": "00000000000000",
    "A": "0E11111F111111",
    "B": "1E11111E11111E",
    "C": "0E11101010110E",
    "D": "1E11111111111E",
    "E": "1F10101E10101F",
    "F": "1F10101E101010",
    "G": "0E11101711110F",
    "H": "1111111F111111",
    "I": "0E04040404040E",
    "J": "0702020202120C",
    "K": "11121418141211",
    "L": "1010101010101F",
    "M": "111B1515111111",
    "N": "11191915131311",
    "O": "0E11111111110E",
    "P": "1E11111E101010",
    "Q": "0E11111115120D",
    "R": "1E11111E141211",
    "S": "0F10100E01011E",
    "T": "1F040404040404",
    "U": "1111111111110E",
    "V": "11111111110A04",
    "W": "11111115151B11",
    "X": "11110A040A1111",
    "Y": "11110A04040404",
    "Z": "1F01020408101F",
    "0": "0E11131519110E",
    "1": "040C040404040E",
    "2": "0E11010204081F",
    "3": "1F02040201110E",
    "4": "02060A121F0202",
    "5": "1F101E0101110E",
    "6": "0608101E11110E",
    "7": "1F010204080808",
    "8": "0E11110E11110E",
    "9": "0E11110F01020C",
    ".": "00000000000C0C",
    ",": "000000000C0408",
    ":": "000C0C000C0C00",
    "-": "0000001F000000",
    "+": "0004041F040400",
    "=": "00001F001F0000",
    "/": "00010204081000",
    "%": "18190204081303",
    "(": "02040808080402",
    ")": "08040202020408",
    "_": "0000000000001F",
    "?": "0E110102040004",
    "!": "04040404000004",
    "'": "04040800000000",
    "#": "0A0A1F0A1F0A0A",
    "<": "02040810080402",
    ">": "08040201020408",
}


@cache
def _glyph(character: str) -> NDArray[np.bool_]:
    rows = bytes.fromhex(_GLYPHS.get(character, _GLYPHS["?"]))
    return np.unpackbits(np.frombuffer(rows, np.uint8)[:, None], axis=1)[:, 8 - WIDTH :].astype(np.bool_)


def text_mask(text: str, scale: int = 1) -> NDArray[np.bool_]:
    """Return the pixels of `text`, (7 * scale, width) bool. Lower case becomes capitals, unknown characters "?"."""
    gap = np.zeros((HEIGHT, SPACING), np.bool_)
    columns = [part for character in text.upper() for part in (_glyph(character), gap)][:-1]
    mask = np.concatenate(columns, axis=1) if columns else np.zeros((HEIGHT, 0), np.bool_)
    return mask.repeat(scale, axis=0).repeat(scale, axis=1)


__all__ = ["HEIGHT", "SPACING", "WIDTH", "text_mask"]
