"""The palette of a bundle, i.e. what each code does, as one self-contained HTML page. Needs no Rerun."""

from __future__ import annotations

import base64
from html import escape

import numpy as np

from genie_core.data.code_meanings import CodeMeaning, CodeMeanings
from genie_core.data.frames.palette import code_palette

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% }
td, th { padding: .5em .7em; border-bottom: 1px solid #ddd; text-align: left }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.chip { display: inline-block; width: 1em; height: 1em; border-radius: .2em; margin-right: .4em }
img { display: block; image-rendering: pixelated; height: 110px } caption, p { color: #555; text-align: left }
"""


def palette_page(meanings: CodeMeanings) -> str:
    """Return the palette as one self-contained HTML page without scripts."""
    colours = code_palette(len(meanings.codes))
    rows = "".join(_row(code, one, colours[code]) for code, one in enumerate(meanings.codes))
    name = escape(meanings.bundle_name)
    head = (
        '<tr><th>code</th><th>the picture moves</th><th>the robot moves</th><th class="number">share</th>'
        '<th class="number">one way</th><th class="number">read back</th><th>mean motion</th><th>clearest transitions'
        "</th></tr>"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Genie: codes of {name}</title>'
        f"<style>{_STYLE}</style><h1>Codes of {name}</h1><p>{about(meanings)}</p><table>{head}{rows}</table>"
        "<p>Share: of all transitions. One way: share of the code's transitions whose motion is within 45 degrees of "
        "its mean. Read back: how often the labeller finds the code in a simulation of it. Clearest transitions: frame "
        "before, frame after, of those furthest from any other code.</p></html>\n"
    )


def about(meanings: CodeMeanings) -> str:
    """Say what the palette was found on, as HTML."""
    return (
        f"Bundle <code>{meanings.bundle_id[:12]}</code> on {meanings.transitions:,} transitions of {meanings.episodes} "
        f"episodes of <code>{escape(meanings.data)}</code>."
    )


def _row(code: int, one: CodeMeaning, colour: int) -> str:
    chip = f'<span class="chip" style="background:#{colour:06x}"></span>{code}'
    read = "" if one.round_trip is None else f"{one.round_trip:.0%}"
    length = float(np.hypot(*one.motion_px))
    return (
        f"<tr><td>{chip}</td><td>{escape(one.words)}{f', {length:.1f} px of 64' if one.picture else ''}</td>"
        f'<td>{escape(one.robot or "")}</td><td class="number">{one.share:.1%}</td>'
        f'<td class="number">{f"{one.agreement:.0%}" if one.picture else ""}</td><td class="number">{read}</td>'
        f"<td>{_image(one.picture, f'mean motion under code {code}')}</td>"
        f"<td>{_image(one.examples, f'clearest transitions of code {code}')}</td></tr>"
    )


def _image(jpeg: bytes, words: str) -> str:
    if not jpeg:
        return ""
    return f'<img alt="{escape(words)}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode("ascii")}">'


__all__ = ["about", "palette_page"]
