"""Rollouts of two bundles from the same starts of held-out video: dB over copying, and a picture of some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.found import Found
from genie_core.inference.simulator import SimulatedStream, Simulator, draw_together
from genie_core.models.bundle import Bundle
from genie_core.training.clips import ClipStore

PROMPT, AHEAD = 4, 8
WAYS = ("latents", "codes")
_SIMULATED = ("panda", "zoo")
"""Begin the names of sources of simulated robots."""

_TOGETHER = 32
_SHOWN, _SCALE = 6, 2


@dataclass(frozen=True)
class _Start:
    """A start: its source, the prompt and what came, (PROMPT + AHEAD, H, W, 3), and the latents between them."""

    source: str
    frames_THWC: NDArray[np.uint8]
    latent_TD: NDArray[np.float32]
    code_T: NDArray[np.int64]


def compare(first: Bundle, second: Bundle, held: ClipStore, out: Path, *, starts: int) -> Iterator[Found]:
    """Yield what both gain over copying at 1 and 8 frames; write the gains at all frames and a picture to `out`."""
    chosen = _starts(second, held, starts)
    made = {name: _rollouts(bundle, chosen) for name, bundle in (("motion", first), ("tokens", second))}
    lines = []
    for kind in ("simulated", "real"):
        among = [i for i, start in enumerate(chosen) if (kind == "simulated") == start.source.startswith(_SIMULATED)]
        if not among:
            continue
        for way in WAYS:
            for name in made:
                gain_T = _gains([chosen[i] for i in among], [made[name][i][way] for i in among])
                lines.append(f"{kind}, {way}, {name}: " + "  ".join(f"{gain:+.2f}" for gain in gain_T))
                for at in (1, AHEAD):
                    row = f"{name}: {kind}, by {way}, over copying at {at}"
                    yield Found(row, float(gain_T[at - 1]), "dB", None, f"{len(among)} starts")
    (out / "gains.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(f"  {line}" for line in lines), flush=True)
    every = max(1, len(chosen) // _SHOWN)
    shown = range(0, len(chosen), every)
    rows = [
        np.concatenate(list(video_THWC), axis=1)
        for i in shown
        for video_THWC in (
            chosen[i].frames_THWC[PROMPT - 1 :],
            *(_with_start(chosen[i], made[name][i][way]) for way in WAYS for name in made),
        )
    ]
    picture = np.concatenate(rows).repeat(_SCALE, 0).repeat(_SCALE, 1)
    cv2.imwrite(str(out / "rollouts.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def _with_start(start: _Start, made_THWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate((start.frames_THWC[PROMPT - 1 : PROMPT], made_THWC))


def _starts(bundle: Bundle, held: ClipStore, count: int) -> list[_Start]:
    rng = np.random.default_rng(0)
    usable = [span for span in held.spans if span.count > (PROMPT + AHEAD - 1) * span.step]
    usable = usable or list(held.spans)
    simulated = [span for span in usable if span.source.startswith(_SIMULATED)]
    real = [span for span in usable if not span.source.startswith(_SIMULATED)]
    found = []
    for i in range(count):
        among = (simulated if i % 2 else real) or simulated or real
        span = among[int(rng.integers(len(among)))]
        length = min(PROMPT + AHEAD, (span.count - 1) // span.step + 1)
        first = span.first + int(rng.integers(span.count - (length - 1) * span.step))
        frames_THWC = np.array(held.frames[first : first + length * span.step : span.step])[:length]
        quantizer = bundle.genie.lam.quantizer
        latent = bundle.genie.lam.latents(bundle.pixels(frames_THWC[None])).float()[0]
        code_T = quantizer.nearest(latent).cpu().numpy()
        found.append(_Start(span.source, frames_THWC, latent.cpu().numpy(), code_T))
    return found


def _rollouts(bundle: Bundle, starts: Sequence[_Start]) -> list[dict[str, NDArray[np.uint8]]]:
    """Return each start's frames by way, (T, H, W, 3)."""
    simulator, made = Simulator(bundle), []
    for at in range(0, len(starts), _TOGETHER):
        some = starts[at : at + _TOGETHER]
        streams = [simulator.start(start.frames_THWC[:PROMPT], len(WAYS)).branches for start in some]
        frames: list[list[NDArray[np.uint8]]] = [[] for _ in range(len(WAYS) * len(some))]
        for t in range(PROMPT - 1, max(len(start.latent_TD) for start in some)):
            moves: list[tuple[SimulatedStream, int | NDArray[np.float32]]] = []
            for start, (by_latent, by_code) in zip(some, streams, strict=True):
                step = min(t, len(start.latent_TD) - 1)
                moves += [(by_latent, start.latent_TD[step]), (by_code, int(start.code_T[step]))]
            for i, frame_HWC in enumerate(draw_together(moves)):
                frames[i].append(frame_HWC)
        for i, start in enumerate(some):
            ahead = len(start.latent_TD) - PROMPT + 1
            made.append({way: np.stack(frames[len(WAYS) * i + k][:ahead]) for k, way in enumerate(WAYS)})
    return made


def _gains(starts: Sequence[_Start], made: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Return dB over copying at each frame, of mean squared errors over starts."""
    ours, copies = [], []
    for start, video_THWC in zip(starts, made, strict=True):
        if len(video_THWC) < AHEAD:
            continue
        real_THWC = start.frames_THWC[PROMPT:].astype(np.float64)
        ours.append(((video_THWC - real_THWC) ** 2).mean((1, 2, 3)))
        copies.append(((start.frames_THWC[PROMPT - 1] - real_THWC) ** 2).mean((1, 2, 3)))
    if not ours:
        return np.zeros(AHEAD)
    gain: NDArray[np.float64] = 10 * np.log10(np.mean(copies, 0) / np.maximum(np.mean(ours, 0), 1e-9))
    return gain


__all__ = ["compare"]
