from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from genie_core.alignment import alignment_path, list_alignments, save_alignment
from genie_core.errors import ModelError
from genie_core.models.bundle import is_bundle, load_bundle, read_bundle_info, save_bundle
from genie_core.models.genie import Genie, count_parameters
from genie_core.models.presets import preset
from tests.factories.alignment import make_alignment
from tests.factories.bundles import make_nano_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_nano_bundle(tmp_path / "nano")


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    genie = Genie(preset("nano"))
    info = save_bundle(tmp_path / "b", genie, "# card\n")
    loaded = load_bundle(tmp_path / "b")
    for name, tensor in loaded.genie.named_parameters():
        assert torch.equal(tensor, dict(genie.named_parameters())[name])
    np.testing.assert_array_equal(info.codebook, genie.lam.quantizer.codebook.numpy())
    assert loaded.card == "# card\n"
    assert not loaded.genie.training
    assert info.parameters == count_parameters(preset("nano")).total


def test_the_identity_follows_weights_and_configuration_not_the_card(tmp_path: Path, bundle: Path) -> None:
    identity = read_bundle_info(bundle).bundle_id
    assert len(identity) == 64
    assert read_bundle_info(make_nano_bundle(tmp_path / "same")).bundle_id == identity
    assert read_bundle_info(make_nano_bundle(tmp_path / "other", seed=1)).bundle_id != identity
    (bundle / "card.md").write_text("corrected")
    assert read_bundle_info(bundle).bundle_id == identity


def test_half_precision_is_half_the_size_and_keeps_the_codebook(tmp_path: Path) -> None:
    torch.manual_seed(0)
    genie = Genie(preset("nano"))
    save_bundle(tmp_path / "full", genie, "")
    info = save_bundle(tmp_path / "half", genie, "", half=True)
    sizes = [(tmp_path / b / "dynamics.safetensors").stat().st_size for b in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    np.testing.assert_array_equal(info.codebook, genie.lam.quantizer.codebook.numpy())
    assert next(load_bundle(tmp_path / "half").genie.parameters()).dtype == torch.float32


def test_in_bfloat16_codebooks_and_rotary_frequencies_are_not_rounded(bundle: Path) -> None:
    exact, rounded = (dict(load_bundle(bundle, precision=p).genie.named_buffers()) for p in ("float32", "bfloat16"))
    kept = [name for name in exact if name.endswith(("frequencies_E", "codebook"))]
    assert len({name.rpartition(".")[2] for name in kept}) == 2
    for name in kept:
        assert rounded[name].dtype == torch.float32
        assert torch.equal(rounded[name], exact[name])
    assert next(load_bundle(bundle, precision="bfloat16").genie.parameters()).dtype == torch.bfloat16


def test_a_bundle_replaces_a_bundle_but_nothing_else(tmp_path: Path, bundle: Path) -> None:
    torch.manual_seed(5)
    save_bundle(bundle, Genie(preset("nano")), "new")
    assert read_bundle_info(bundle).card == "new"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="not a bundle"):
        save_bundle(precious, Genie(preset("nano")), "")
    assert (precious / "thesis.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["nano", "precious"]


def test_alignments_stay_with_the_bundle_that_they_belong_to_and_go_with_another(bundle: Path) -> None:
    made = make_alignment(read_bundle_info(bundle), observe=False)
    save_alignment(alignment_path(bundle, "lift"), made)
    (bundle / "alignments" / ".half.tmp-1").write_bytes(b"being written")
    kept = alignment_path(bundle, "lift").read_bytes()

    same = save_bundle(bundle, load_bundle(bundle).genie, "a better card")
    assert same.card == "a better card"
    assert [file.name for file in (bundle / "alignments").iterdir()] == ["lift.safetensors"]
    assert alignment_path(bundle, "lift").read_bytes() == kept
    assert [entry.problem for entry in list_alignments(same)] == [None]

    torch.manual_seed(5)
    other = save_bundle(bundle, Genie(preset("nano")), "")
    assert other.bundle_id != same.bundle_id
    assert list_alignments(other) == []
    assert not (bundle / "alignments").exists()


def test_what_is_missing_or_damaged_is_named(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        load_bundle(tmp_path / "nowhere")
    (bundle / "dynamics.safetensors").rename(bundle / "kept")
    assert not is_bundle(bundle)
    with pytest.raises(ModelError, match=r"dynamics\.safetensors is missing"):
        load_bundle(bundle)
    (bundle / "dynamics.safetensors").write_bytes((bundle / "kept").read_bytes()[:200])
    with pytest.raises(ModelError, match=r"dynamics\.safetensors"):
        load_bundle(bundle)
    shutil.copy(bundle / "tokenizer.safetensors", bundle / "dynamics.safetensors")
    with pytest.raises(ModelError, match="does not fit"):
        load_bundle(bundle)


def test_a_wrong_configuration_is_named(bundle: Path) -> None:
    values = json.loads((bundle / "config.json").read_text()) | {"colour": "blue"}
    (bundle / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="colour"):
        load_bundle(bundle)


def test_a_device_that_is_not_there_is_named(bundle: Path) -> None:
    with pytest.raises(ModelError, match="device 'cuda:77' cannot be used here"):
        load_bundle(bundle, "cuda:77")
