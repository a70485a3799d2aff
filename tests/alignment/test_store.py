from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from genie_core.alignment import (
    Alignment,
    alignment_path,
    list_alignments,
    load_alignment,
    read_alignment_info,
    save_alignment,
)
from genie_core.errors import ModelError, RequestError
from genie_core.models.bundle import BundleInfo, load_bundle, read_bundle_info
from tests.factories.alignment import make_alignment
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_frames


@pytest.fixture
def bundle(tmp_path: Path) -> BundleInfo:
    return read_bundle_info(make_nano_bundle(tmp_path / "nano"))


def labels(alignment: Alignment, count: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents, codes (the one that was never seen among them) and frames."""
    rng = np.random.default_rng(0)
    info = alignment.info
    code_T = np.arange(count).astype(np.uint16) % info.codes
    latent_TD = rng.normal(size=(count, info.latent_dim)).astype(np.float32)
    return latent_TD, code_T, make_frames(count, info.height, info.width)


@pytest.mark.parametrize("observe", [True, False])
def test_what_is_loaded_decodes_as_what_was_saved(bundle: BundleInfo, observe: bool) -> None:
    alignment = make_alignment(bundle, observe=observe)
    path = alignment_path(bundle.path, "arm-60")
    save_alignment(path, alignment)
    loaded = load_alignment(path, bundle)
    assert loaded.info == alignment.info == read_alignment_info(path)
    assert loaded.needs_frames == alignment.needs_frames == observe
    latent_TD, code_T, frames_THWC = labels(alignment)
    for how in ("regressor", "dictionary", "draw"):
        decoded = loaded.decode(latent_TD, code_T, frames_THWC, how=how, seed=5)
        assert decoded.shape == (12, 2)
        assert decoded.dtype == np.float32
        np.testing.assert_array_equal(decoded, alignment.decode(latent_TD, code_T, frames_THWC, how=how, seed=5))


def test_an_alignment_of_an_earlier_version_is_read(bundle: BundleInfo, tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    save_alignment(path, make_alignment(bundle, observe=False))
    with safe_open(path, "np") as file:
        header = json.loads(file.metadata()["genie_alignment"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dictionary
    for name in ("precision", "back_kernels", "back_low", "back_high"):
        del header[name]  # was not written then
    tensors = {key: of for key, of in tensors.items() if not key.startswith("back.")}
    save_file(tensors, path, {"genie_alignment": json.dumps(header)})
    old = load_alignment(path, bundle)
    assert old.info.precision is None
    with pytest.raises(ModelError, match=r"no way back .* `genie align` of this version"):
        old.encode(np.zeros((1, 2)))


@pytest.mark.parametrize("observe", [True, False])
def test_the_way_back_is_kept_and_tells_what_lies_beyond_its_range(bundle: BundleInfo, observe: bool) -> None:
    alignment = make_alignment(bundle, observe=observe)
    path = alignment_path(bundle.path, "arm-60")
    save_alignment(path, alignment)
    loaded = load_alignment(path, bundle)
    assert loaded.back_needs_frames == observe
    frames = make_frames(3, 32, 32)
    actions = np.array([[5.0, 5.0], [4.5, 1e6], [5.5, 5.0]])
    latent, outside = loaded.encode(actions, frames if observe else None)
    assert latent.shape == (3, loaded.info.latent_dim)
    assert outside.tolist() == [[False, False], [False, True], [False, False]]
    np.testing.assert_array_equal(latent, alignment.encode(actions, frames)[0])
    if not observe:  # linear: what lies beyond is not clipped
        assert abs(latent[1, 1]) > 1000
        np.testing.assert_allclose(latent[[0, 2], 0], [0, 0.5], atol=0.1)
    for wrong in (np.zeros((1, 3)), np.array([[np.nan, 0]]), np.array([["a", "b"]])):
        with pytest.raises(RequestError, match="robot_actions"):
            loaded.encode(wrong)


def test_chunks_decode_as_the_whole(bundle: BundleInfo) -> None:
    alignment = make_alignment(bundle, observe=True)
    latent_TD, code_T, frames_THWC = labels(alignment, 30)
    for how in ("regressor", "dictionary", "draw"):
        whole = alignment.decode(latent_TD, code_T, frames_THWC, how=how)
        parts = [
            alignment.decode(latent_TD[a:b], code_T[a:b], frames_THWC[a:b], how=how, start=a)
            for a, b in ((0, 1), (1, 8), (8, 8), (8, 30))
        ]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5)


def test_the_bundle_stays_what_it_is(bundle: BundleInfo) -> None:
    save_alignment(alignment_path(bundle.path, "arm"), make_alignment(bundle, observe=True))
    assert read_bundle_info(bundle.path).bundle_id == bundle.bundle_id
    assert load_bundle(bundle.path).bundle_id == bundle.bundle_id


def test_those_beside_a_bundle_are_listed_with_what_is_wrong_with_them(bundle: BundleInfo, tmp_path: Path) -> None:
    assert list_alignments(bundle) == []
    other = read_bundle_info(make_nano_bundle(tmp_path / "other", seed=1))
    save_alignment(alignment_path(bundle.path, "good"), make_alignment(bundle, observe=False))
    save_alignment(alignment_path(bundle.path, "foreign"), make_alignment(other, observe=False))
    alignment_path(bundle.path, "torn").write_bytes(alignment_path(bundle.path, "good").read_bytes()[:500])
    foreign, good, torn = list_alignments(bundle)
    assert (foreign.name, good.name, torn.name) == ("foreign", "good", "torn")
    assert good.problem is None
    assert good.info is not None
    assert good.info.actions == ("x", "y")
    assert foreign.info is torn.info is None
    assert other.bundle_id[:12] in str(foreign.problem)
    assert "cannot be read" in str(torn.problem)


def test_an_alignment_of_another_bundle_is_refused(bundle: BundleInfo, tmp_path: Path) -> None:
    other = read_bundle_info(make_nano_bundle(tmp_path / "other", seed=1))
    path = tmp_path / "a.safetensors"
    save_alignment(path, make_alignment(other, observe=False))
    with pytest.raises(ModelError, match=f"{other.bundle_id[:12]}, expected nano {bundle.bundle_id[:12]}"):
        load_alignment(path, bundle)


@pytest.mark.parametrize(
    ("key", "change", "complaint"),
    [
        ("regressor.weights", lambda a: a[:, :-1], "regressor.weights is of shape"),
        ("regressor.weights", lambda a: a * np.nan, "not finite"),
        ("dictionary.start", lambda a: a[::-1].copy(), "does not divide"),
        ("observation.axes", lambda a: a[:, :-1], "observation.axes is of shape"),
        ("action.mean", None, "action.mean"),
        ("back.weights", lambda a: a[:, :-1], "back.weights is of shape"),
        ("back.observation", lambda a: a[:-1], "back.observation is of shape"),
        ("back.deviation", None, "back.deviation"),
    ],
)
def test_a_damaged_alignment_is_refused(bundle: BundleInfo, tmp_path: Path, key, change, complaint: str) -> None:
    path = tmp_path / "a.safetensors"
    save_alignment(path, make_alignment(bundle, observe=True))
    tensors, header = load_file(path), read_alignment_info(path).model_dump_json()
    whole = tensors.pop(key)
    if change is not None:
        tensors[key] = np.ascontiguousarray(change(whole))
    save_file(tensors, path, {"genie_alignment": header})
    with pytest.raises(ModelError, match=complaint):
        load_alignment(path, bundle)


def test_what_is_no_alignment_is_refused(bundle: BundleInfo, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no alignment"):
        load_alignment(bundle.path / "lam.safetensors", bundle)
    with pytest.raises(ModelError, match="cannot be read"):
        load_alignment(tmp_path / "missing.safetensors", bundle)
    newer = tmp_path / "newer.safetensors"
    info = json.loads(make_alignment(bundle, observe=False).info.model_dump_json())
    save_file({"a": np.zeros(1)}, newer, {"genie_alignment": json.dumps({**info, "schema_version": 2})})
    with pytest.raises(ModelError, match="schema_version"):
        load_alignment(newer, bundle)


def test_nothing_is_replaced_unasked_and_no_name_leads_elsewhere(bundle: BundleInfo) -> None:
    alignment, path = make_alignment(bundle, observe=False), alignment_path(bundle.path, "arm")
    save_alignment(path, alignment)
    before = path.read_bytes()
    with pytest.raises(ModelError, match="exists"):
        save_alignment(path, make_alignment(bundle, observe=True))
    assert path.read_bytes() == before
    save_alignment(path, make_alignment(bundle, observe=True), overwrite=True)
    assert path.read_bytes() != before
    assert [p.name for p in path.parent.iterdir()] == ["arm.safetensors"]
    for name in ("../arm", "", ".arm", "a/b"):
        with pytest.raises(ModelError, match="alignment name"):
            alignment_path(bundle.path, name)


def test_bad_requests_name_their_field(bundle: BundleInfo) -> None:
    alignment = make_alignment(bundle, observe=True)
    latent_TD, code_T, frames_THWC = labels(alignment)
    wrong = {
        "code: got 0 to 8, expected 0 to 7": (latent_TD, np.where(code_T == 7, 8, code_T), frames_THWC),
        "code: got float": (latent_TD, code_T.astype(float), frames_THWC),
        "latent: got .*shape \\(12, 1\\)": (latent_TD[:, :1], code_T, frames_THWC),
        "latent: got numbers": (latent_TD * np.nan, code_T, frames_THWC),
        "frames: got none": (latent_TD, code_T, None),
        "frames: got 11 for 12": (latent_TD, code_T, frames_THWC[:11]),
        "frames: ": (latent_TD, code_T, frames_THWC.astype(np.float32)),
    }
    for complaint, (latent, code, frames) in wrong.items():
        with pytest.raises(RequestError, match=complaint):
            alignment.decode(latent, code, frames)
    with pytest.raises(RequestError, match="how: got 'magic'"):
        alignment.decode(latent_TD, code_T, frames_THWC, how="magic")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="seed: got -1"):
        alignment.decode(latent_TD, code_T, how="draw", seed=-1)
    assert alignment.decode(latent_TD, code_T, how="dictionary").shape == (12, 2)  # needs no frames
    assert alignment.decode(latent_TD[:0], code_T[:0], frames_THWC[:0]).shape == (0, 2)


def test_frames_of_any_size_are_seen_alike(bundle: BundleInfo) -> None:
    alignment = make_alignment(bundle, observe=True)
    latent_TD, code_T, frames_THWC = labels(alignment)
    large = frames_THWC.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(
        alignment.decode(latent_TD, code_T, large), alignment.decode(latent_TD, code_T, frames_THWC)
    )
    assert replace(alignment, observation=None).decode(latent_TD, code_T, how="dictionary").shape == (12, 2)


def test_decoding_imports_no_torch() -> None:
    code = "import sys, genie_core.alignment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
