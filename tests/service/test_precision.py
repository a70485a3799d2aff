"""bfloat16: served when told to, said in everything that goes out, and never mixed with float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genie_client import Client
from genie_client.bulk import LabelPlan, label_dataset
from genie_core.data import open_dataset, read_labels
from genie_core.errors import DatasetError, ModelError
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from tests.factories.data import make_robomimic
from tests.support.service_messages import video
from tests.support.service_server import Running


def test_labels_say_what_they_were_computed_in_and_are_the_labellers_own(
    start: Callable[..., Running], models: Path
) -> None:
    genie = start(precision="bfloat16")
    frames = video(40)
    with Client(genie.server.address) as client:
        assert client.model("alpha").computation.precision == "bfloat16"
        labels = client.label(frames, fps=10)
    assert labels.provenance.computation.precision == "bfloat16"
    assert labels.provenance.computation.torch_version == torch.__version__
    assert labels.provenance.computation.processor.endswith(torch.backends.cpu.get_cpu_capability())
    wanted = Labeller(load_bundle(models / "alpha", precision="bfloat16")).label(frames, 1)
    np.testing.assert_array_equal(labels.latent, wanted.latent)
    exact = Labeller(load_bundle(models / "alpha")).label(frames, 1)
    assert (labels.latent != exact.latent).any()
    np.testing.assert_allclose(labels.latent, exact.latent, atol=0.05)


def test_a_run_is_not_resumed_in_another_precision(start: Callable[..., Running], tmp_path: Path) -> None:
    dataset = open_dataset(make_robomimic(tmp_path / "data.hdf5"))
    out = tmp_path / "out.hdf5"
    with Client(start(precision="bfloat16").server.address) as client:
        label_dataset(client, dataset, LabelPlan(out))
    assert read_labels(out, "demo_0")[1].precision == "bfloat16"
    with (
        Client(start().server.address) as client,
        pytest.raises(DatasetError, match="precision bfloat16, expected float32"),
    ):
        label_dataset(client, dataset, LabelPlan(out, existing="resume"))


def test_a_precision_that_is_none_is_named(models: Path) -> None:
    with pytest.raises(ModelError, match="precision: got 'int4', expected one of float32, bfloat16"):
        load_bundle(models / "alpha", precision="int4")  # type: ignore[arg-type]
