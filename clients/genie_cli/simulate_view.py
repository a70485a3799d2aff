"""What `genie simulate` shows: a recording of the simulation, beside what really followed and what else could have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from genie_client.arguments import Simulating
    from genie_client.client import Client
    from genie_client.prompt import Moment
    from genie_client.records import ModelInfo
    from genie_core.data import Frames


def record(
    path: Path,
    info: ModelInfo,
    prompt_PHWC: Frames,
    frames_THWC: Frames,
    codes: Sequence[int],
    others: Sequence[tuple[str, Sequence[int], Frames]] = (),
    future_THWC: Frames | None = None,
    confidence_T: Sequence[float | None] = (),
) -> None:
    """Write the recording: the simulation, `others` (name, codes, frames) from the same prompt, and the true future.

    `confidence_T` says how far each simulated frame can be trusted, where that was asked for.
    """
    from genie_client.records import trusted_frames
    from genie_view.clock import Clock
    from genie_view.recording import write_recordings
    from genie_view.simulation_view import SimulationView, Track, simulation_recording

    tracks = [Track("simulated", frames_THWC, codes), *(Track(name, frames, of) for name, of, frames in others)]
    words = [code.name for code in info.code_meanings]
    known = [value for value in confidence_T if value is not None]
    trust = (known, trusted_frames(known)) if known else (None, None)
    view = SimulationView(prompt_PHWC, tracks, info.palette, Clock(info.fps), future_THWC, words, *trust)
    write_recordings(path, [simulation_recording(path.stem, view)])
    typer.echo(f"wrote {path}; look at it with: rerun {path}")


def counterfactuals(
    client: Client, info: ModelInfo, prompt_PHWC: Frames, length: int, options: Simulating
) -> list[tuple[str, list[int], Frames]]:
    """Simulate each code held from the prompt, for as many frames: name, codes and frames of each."""
    held = [[code] * length for code in range(info.num_codes)]
    plain = options.copy()  # codes need no alignment
    plain.update({"alignment": None, "confidence": False})
    drawn_NTHWC = client.branch(prompt_PHWC, held, **plain)
    return [
        (f"action {code}", codes, frames) for code, (codes, frames) in enumerate(zip(held, drawn_NTHWC, strict=True))
    ]


def true_future(
    prompt: Path, info: ModelInfo, moment: Moment, length: int, step: int | None, size: tuple[int, int]
) -> Frames | None:
    """Return what followed the prompt, of that height and width, as `read_future` does; None if nothing did."""
    from genie_client.prompt import is_picture, read_future
    from genie_core.data import resize_frames

    if is_picture(prompt):
        return None
    future = read_future(prompt, info, moment, length, step)
    return resize_frames(future, *size) if len(future) else None


@contextmanager
def watched(
    info: ModelInfo, prompt_PHWC: Frames, codes: Sequence[int] | None, *, wanted: bool
) -> Iterator[Callable[[Frames], None]]:
    """Yield a function to call with each frame, which shows it in a viewer if one is `wanted`."""
    if not wanted:
        yield lambda frame_HWC: None
        return
    from genie_view.clock import Clock
    from genie_view.live import live_simulation, start_viewer
    from genie_view.simulation_view import SimulationView, Track

    track = Track("simulated", prompt_PHWC[:0], list(codes or ()))
    words = [code.name for code in info.code_meanings]
    view = SimulationView(prompt_PHWC, [track], info.palette, Clock(info.fps), words=words)
    with live_simulation(start_viewer("leave --view out"), "simulation", view) as shown:
        yield shown.show


__all__ = ["counterfactuals", "record", "true_future", "watched"]
