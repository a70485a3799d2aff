"""Makes the provenance of each episode's labels, and checks that the source files have not changed meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from genie_core import __version__
from genie_core.data.auto_step import AutoSteps
from genie_core.data.dataset import Dataset
from genie_core.data.episode import Episode
from genie_core.data.frames.timing import Step, resolve_step
from genie_core.data.labelled.labels import Density
from genie_core.data.labelled.provenance import LabelAlignment, LabelModel, Provenance, StepPolicy
from genie_core.data.storage.fingerprint import cheap_sha256, size_and_time
from genie_core.data.storage.location import SourcePath, absolute
from genie_core.errors import DatasetError


class Attributes:
    """Makes the provenance of episodes; records the state of their sources when created. Not thread-safe."""

    def __init__(
        self,
        dataset: Dataset,
        model: LabelModel,
        *,
        step: int | None,
        auto_steps: AutoSteps | None,
        density: Density,
        transport: Literal["jpeg"] | None,
        alignment: LabelAlignment | None,
        frozen: Literal["kept"] | None,
        feature_dim: int | None,
        created: str,
    ) -> None:
        """Take the settings of a run; for their meaning see `LabelWriter` and `Provenance`."""
        self._dataset, self._model = dataset, model
        self._step, self._auto_steps = step, auto_steps
        self._density: Density = density
        self._transport: Literal["jpeg"] | None = transport
        self._alignment = alignment
        self._frozen: Literal["kept"] | None = frozen
        self._feature_dim, self._created = feature_dim, created
        # A missing source only stops its own episodes, which may be left out. Sources behind URLs are looked up later.
        sources = {view.source for episode in dataset.episodes for view in (episode, *episode.views)}
        self._stamps: dict[SourcePath, tuple[int, int]] = {
            source: size_and_time(source) for source in sources if isinstance(source, Path) and source.exists()
        }
        self._hashes: dict[SourcePath, str | None] = {}

    def step(self, episode: Episode) -> Step:
        """Return the transition length for `episode`. Raises DatasetError if it is unknown."""
        found = self._found_step(episode)
        if found is None and self._auto_steps is not None and episode.fps is None:
            raise DatasetError(
                f"{episode.source}: {episode.name}: step: nothing moves by which --step auto could find it, and the "
                "frame rate is unknown; expected a step in frames (--step N)"
            )
        return found or resolve_step(episode.fps, self._model.model_fps, self._step)

    def check_unchanged(self, source: SourcePath) -> None:
        """Raise DatasetError if a source has changed since this run began."""
        if size_and_time(source) != self._stamps[source]:
            raise DatasetError(f"{source}: the file changed while it was being labelled; label it again")

    def check_all_unchanged(self) -> None:
        """Raise DatasetError if any source has changed since this run began."""
        for source in self._stamps:
            self.check_unchanged(source)

    def _found_step(self, episode: Episode) -> Step | None:
        return None if self._auto_steps is None else self._auto_steps.step(episode.fps)

    def _step_policy(self, episode: Episode) -> StepPolicy:
        if self._step is not None:
            return "given"
        return "rates" if self._found_step(episode) is None else "auto"

    def sha256(self, source: SourcePath) -> str | None:
        """Return the SHA-256 of a source if it is cheap to compute; computed once for all its episodes."""
        if source not in self._hashes:
            self._hashes[source] = cheap_sha256(source)
        return self._hashes[source]

    def _stamp(self, source: SourcePath) -> tuple[int, int]:
        if source not in self._stamps:
            self._stamps[source] = size_and_time(source)
        return self._stamps[source]

    def _fused(self, episode: Episode) -> dict[str, str]:
        """Return what provenance says of the views that are fused; nothing where there is but one."""
        if not episode.views:
            return {}
        sources = [[str(absolute(view.source)), *self._stamp(view.source)] for view in episode.views]
        cameras = [episode.camera, *(view.camera for view in episode.views)]
        return {"fused": json.dumps(cameras), "fused_sources": json.dumps(sources)}

    def of(self, episode: Episode) -> Provenance:
        """Return the provenance of an episode's labels, but for what is known only when they are made."""
        size, mtime_ns = self._stamp(episode.source)
        return Provenance(
            **self._model.said(),
            computation=self._model.computation,
            step=self.step(episode).step,
            step_policy=self._step_policy(episode),
            density=self._density,
            transport=self._transport,
            **({} if self._alignment is None else self._alignment.said()),
            feature_dim=self._feature_dim,
            camera=episode.camera,
            **self._fused(episode),
            fps=episode.fps,
            colour=None if episode.convention.colour == "rgb" else episode.convention.colour,
            upside_down=episode.convention.upside_down or None,
            rotate=episode.convention.rotate,
            frames_path=self._dataset.options.frames_path,
            actions_path=episode.actions_path,
            frozen=self._frozen,
            created=self._created,
            tool_version=__version__,
            source=str(absolute(episode.source)),
            source_name=episode.name,
            source_size=size,
            source_mtime_ns=mtime_ns,
        )


__all__ = ["Attributes"]
