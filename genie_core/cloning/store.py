"""The experiment's folder: demonstrations, labels, trained policies, and one small file per condition.

Each file is whole or absent, so that an interrupted run can resume.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from genie_core.cloning.plan import Condition
from genie_core.cloning.policy import Kind, Policy, PolicyNetwork
from genie_core.data.storage.atomic import new_file, write_bytes
from genie_core.errors import DatasetError


@dataclass(frozen=True)
class Store:
    """Folder of one experiment."""

    folder: Path

    @property
    def demonstrations(self) -> Path:
        """The expert's episodes, HDF5 in robomimic's layout."""
        return self.folder / "demonstrations.hdf5"

    @property
    def labels(self) -> Path:
        """The episodes as labelled by the latent action model."""
        return self.folder / "labels.hdf5"

    def open(self, identity: Mapping[str, object]) -> None:
        """Create the folder, or check that its contents were made with the same settings.

        Raises:
            DatasetError: it is a file, or holds another experiment; the message lists the differences.

        """
        if self.folder.exists() and not self.folder.is_dir():
            raise DatasetError(f"{self.folder}: it is a file, expected a folder for the experiment")
        for part in ("policies", "results"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        file = self.folder / "plan.json"
        if not file.exists():
            write_bytes(file, json.dumps(identity, indent=2).encode())
            return
        found = json.loads(file.read_text())
        differing = [
            f"{key}: {found.get(key)!r} there, {identity.get(key)!r} now"
            for key in sorted(found.keys() | identity.keys())
            if found.get(key) != json.loads(json.dumps(identity.get(key)))
        ]
        if differing:
            raise DatasetError(
                f"{self.folder} holds another experiment ({'; '.join(differing)}): choose another folder, or go on"
                " with the same options"
            )

    def plan(self) -> dict[str, object]:
        """Return what the folder's contents depend on."""
        plan: dict[str, object] = json.loads((self.folder / "plan.json").read_text())
        return plan

    def results(self, condition: Condition) -> list[int]:
        """Return the steps to success of each start tried, -1 for failure; empty if none was tried."""
        file = self._result(condition)
        if not file.exists():
            return []
        steps: list[int] = json.loads(file.read_text())["steps"]
        return steps

    def write_results(self, condition: Condition, steps: list[int]) -> None:
        """Store the results of starts 0, 1, ..."""
        content = {"method": condition.method, "labelled": condition.labelled, "seed": condition.seed, "steps": steps}
        write_bytes(self._result(condition), json.dumps(content).encode())

    def _result(self, condition: Condition) -> Path:
        return self.folder / "results" / f"{condition.key}.json"

    def load_policy(self, key: str) -> Policy | None:
        """Return a trained policy; None if there is none yet."""
        file = self.folder / "policies" / f"{key}.safetensors"
        if not file.exists():
            return None
        tensors = load_file(file)
        mean_K, deviation_K = (tensors.pop(name).numpy() for name in ("mean", "deviation"))
        frames = int(tensors.pop("frames"))
        kind: Kind = "codes" if int(tensors.pop("is_codes")) else "numbers"
        network = PolicyNetwork(frames, len(mean_K))
        network.load_state_dict(tensors)
        return Policy(network, kind, frames, mean_K, deviation_K)

    def save_policy(self, key: str, policy: Policy) -> None:
        """Store a trained policy."""
        file = self.folder / "policies" / f"{key}.safetensors"
        facts = {
            "mean": torch.from_numpy(np.asarray(policy.mean_K, np.float64)),
            "deviation": torch.from_numpy(np.asarray(policy.deviation_K, np.float64)),
            "frames": torch.tensor(policy.frames),
            "is_codes": torch.tensor(int(policy.kind == "codes")),
        }
        with new_file(file) as temporary:
            save_file({name: t.contiguous() for name, t in policy.network.state_dict().items()} | facts, temporary)


__all__ = ["Store"]
