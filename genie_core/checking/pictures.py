"""Measures how a bundle responds to the labelled pictures: again, held still, altered, reversed, and further apart.

It works on short films: the first frames of some episodes, a transition apart, at the model's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.checking.codes import CheckedEpisode
from genie_core.checking.flow_left import flow_left
from genie_core.data import Episode, Frames, resize_frames
from genie_core.evaluation.latent_actions import brighten, prediction_errors, shift
from genie_core.evaluation.metrics import Measured, Metric, Missing, estimate, mean_of, of_means, ratio
from genie_core.evaluation.suite.labels import disturbance_metrics
from genie_core.inference import Labeller
from genie_core.progress import Progress
from genie_core.statistics.metrics import Array, psnr_db

FILMS, FILM_FRAMES = 6, 24
"""Episodes of which a film is made, and frames of each, at most."""
_CHUNK = 64


@dataclass(frozen=True)
class CheckedFilm:
    """A film and its labels in the file.

    Attributes:
        all_THWC: (T, H, W, 3) uint8 at the model's size, every frame of three transitions or more.
        labels: those of its episode.

    """

    all_THWC: Frames
    labels: CheckedEpisode

    @property
    def frames_THWC(self) -> Frames:
        """Frames a transition apart, at least 3."""
        return self.all_THWC[:: self.labels.step]

    @property
    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Transitions of the film that have a label, and the rows of these labels, (n,) each."""
        start_N = self.labels.frame_S // self.labels.step
        here_N = (self.labels.frame_S % self.labels.step == 0) & (start_N < len(self.frames_THWC) - 1)
        return start_N[here_N], np.flatnonzero(here_N).astype(np.int64)


def read_film(episode: Episode, labels: CheckedEpisode, height: int, width: int) -> CheckedFilm | None:
    """Read a film from the episode's first frame on; None if it is shorter than two transitions."""
    all_THWC = read_frames(episode, (FILM_FRAMES - 1) * labels.step + 1, height, width)
    return CheckedFilm(all_THWC, labels) if len(all_THWC) > 2 * labels.step else None


def read_frames(episode: Episode, most: int, height: int, width: int) -> Frames:
    """Read the first frames of an episode, `most` at most, resized: (T, height, width, 3) uint8."""
    stop = min(most, episode.num_frames)
    pieces = [
        resize_frames(episode.frames(start, min(start + _CHUNK, stop)), height, width)
        for start in range(0, stop, _CHUNK)
    ]
    return np.concatenate(pieces) if pieces else np.zeros((0, height, width, 3), np.uint8)


def picture_metrics(
    labeller: Labeller, films: Sequence[CheckedFilm], rng: np.random.Generator, progress: Progress
) -> dict[str, Measured]:
    """Measure what `RULES` says of pictures, on at least one film.

    ``unusual_motion``, ``still_norm``, ``reversal`` and ``additivity`` are of latents that are as long as the motion is
    large; of others ``still_same``.
    """
    bundle = labeller.bundle
    again = [labeller.label(film.all_THWC, film.labels.step, "strided") for film in films]
    progress("pictures: as labelled", 0, 5)
    same = [
        (labels.code[start * film.labels.step] == film.labels.code_S[row]).astype(np.float64)
        for film, labels in zip(films, again, strict=True)
        for start, row in [film.rows]
    ]
    plain = [labeller.label(film.frames_THWC, 1) for film in films]
    metrics: dict[str, Measured] = {"relabelled_same": mean_of(same, rng)}
    progress("pictures: drawn again", 1, 5)
    metrics |= _drawn(labeller, films, rng)
    of_pairs = [labels.latent[:-1] for labels in plain]
    metrics["flow_left"] = flow_left(bundle, [f.frames_THWC for f in films], of_pairs, np.random.default_rng(0))
    progress("pictures: changed", 2, 5)
    changed, frozen = disturbance_metrics(
        labeller, [f.frames_THWC for f in films], rng, {"shift": shift, "brightness": brighten}
    )
    metrics |= changed
    usual = bundle.info.usual_norm
    if usual is None:
        share = float(frozen.count_K.max() / frozen.count_K.sum())
        n = int(frozen.count_K.sum())
        return metrics | {"still_same": Metric(value=share, ci95=None, n=n, episodes=len(films))}
    n = len(frozen.norm_N)
    still = float(np.median(frozen.norm_N) / usual)
    metrics["still_norm"] = Metric(value=still, ci95=None, n=n, episodes=len(films))
    progress("pictures: played backwards", 3, 5)
    forth = [labels.latent[labels.valid].astype(np.float64) for labels in plain]
    back = [_latents(labeller, film.frames_THWC[::-1])[::-1] for film in films]
    metrics["reversal"] = _alike([(f, -b) for f, b in zip(forth, back, strict=True)], rng)
    progress("pictures: two steps at once", 4, 5)
    metrics["additivity"] = _alike(
        [
            (_latents(labeller, film.frames_THWC[::2]), (f[:-1] + f[1:])[::2])
            for film, f in zip(films, forth, strict=True)
        ],
        rng,
    )
    return metrics


def unusual_motion(episodes: Sequence[CheckedEpisode], usual_norm: float | None) -> Measured:
    """Return by how many doublings the median length of moving latents differs from that of the model's training."""
    if usual_norm is None:
        return Missing("latents of this model all have one length")
    length = np.concatenate([np.linalg.norm(e.latent_SD[e.moving_S], axis=1) for e in episodes])
    if not len(length):
        return Missing("nothing moves")
    value = abs(float(np.log2(np.median(length) / usual_norm)))
    return Metric(value=value, ci95=None, n=len(length), episodes=len(episodes))


def _drawn(labeller: Labeller, films: Sequence[CheckedFilm], rng: np.random.Generator) -> dict[str, Measured]:
    """Return how much better the next frame is drawn from its code in the file than copied, or than from another's."""
    codes = np.concatenate([film.labels.code_S[film.rows[1]] for film in films])
    errors = []
    for film in films:
        start, row = film.rows
        if len(start):
            own = film.labels.code_S[row]
            other = rng.choice(codes, len(own))
            errors.append(prediction_errors(labeller.bundle, film.frames_THWC, start, own, other))
    if not errors:
        return {}
    errors_E32 = np.stack(errors)
    n = int(errors_E32[:, 0, 1].sum())

    def gain(over: int) -> Measured:
        return estimate(errors_E32, lambda s: psnr_db(ratio(s[:, 0])) - psnr_db(ratio(s[:, over])), n, rng)

    return {"psnr_over_shuffled_db": gain(2), "psnr_over_copy_db": gain(1)}


def _latents(labeller: Labeller, frames_THWC: Frames) -> Array:
    labels = labeller.label(np.ascontiguousarray(frames_THWC), 1)
    return labels.latent[labels.valid].astype(np.float64)


def _alike(pairs: Sequence[tuple[Array, Array]], rng: np.random.Generator) -> Measured:
    """Return the cosine of two sets of latents taken as one long vector each: large motions count most."""
    products = [
        np.stack([(a * b).sum(axis=1), np.square(a).sum(axis=1), np.square(b).sum(axis=1)], axis=1) for a, b in pairs
    ]
    return of_means(products, lambda m_R3: m_R3[:, 0] / np.sqrt(m_R3[:, 1] * m_R3[:, 2]), rng)


__all__ = ["FILMS", "CheckedFilm", "picture_metrics", "read_film", "read_frames", "unusual_motion"]
