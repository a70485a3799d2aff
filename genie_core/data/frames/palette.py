"""Colour of each latent action code, the same in every view and program. Depends on no viewer."""

from __future__ import annotations

import colorsys

_FIRST = (0x4E79A7, 0xF28E2B, 0x59A14F, 0xE15759, 0xB07AA1, 0xEDC948, 0x76B7B2, 0xFF9DA7, 0x9C755F, 0xBAB0AC)
"""Ten colours that are easy to tell apart; enough for the paper's codebooks."""

_GOLDEN = 0.618033988749895


def code_palette(num_codes: int) -> tuple[int, ...]:
    """Return the colours of codes 0 .. num_codes - 1 as 0xRRGGBB; a code's colour does not depend on `num_codes`."""
    return tuple(_FIRST[code] if code < len(_FIRST) else _spread(code) for code in range(num_codes))


def rgb(colour: int) -> tuple[int, int, int]:
    """0xRRGGBB as three channels, 0 to 255."""
    return colour >> 16 & 255, colour >> 8 & 255, colour & 255


def _spread(code: int) -> int:
    """Return a hue far from those of the codes before it, at one of three brightnesses."""
    red, green, blue = colorsys.hsv_to_rgb(code * _GOLDEN % 1.0, 0.65, (0.95, 0.75, 0.55)[code % 3])
    return round(red * 255) << 16 | round(green * 255) << 8 | round(blue * 255)


__all__ = ["code_palette", "rgb"]
