"""LeRobot's own dataset, statistics and writer against our export. Run by `run.py`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from torch.utils.data import DataLoader

CAMERA = "observation.images.agentview_image"
LABELS = {
    "latent_action": "code",
    "latent_action.latent": "latent",
    "latent_action.confidence": "confidence",
    "latent_action.valid": "valid",
    "action": "actions",
}
"""Features, and what `expected.npz` calls what must be in them."""
DECODED = "latent_action.action"
EXPORTS = {
    "lerobot": LABELS,
    "lerobot-aligned": LABELS | {DECODED: "decoded"},
    "lerobot-decoded": LABELS | {DECODED: "decoded", "action": "decoded"},
}
PSNR_DB = 30


def main(data: Path, folder: Path) -> None:
    """Run all checks; raises where one fails."""
    packages = ("lerobot", "torch", "torchcodec", "av", "datasets", "pyarrow", "numpy")
    print(*(f"{name} {version(name)}" for name in packages))
    expected = dict(np.load(data / "expected.npz"))
    for name, labels in EXPORTS.items():
        print(f"{name}:")
        for backend in ("torchcodec", "pyav"):
            check_items(data / name, backend, expected, labels)
        check_windows(data / name, expected)
        check_statistics(data / name, expected)
        check_layout(data / name, folder / "written", expected)
    for name in ("lerobot-in-place", "lerobot-copied"):
        check_labelled_again(data, name)
    assert json.loads((data / "lerobot-copied/meta/info.json").read_text())["genie"]["video"] == "copied"
    for name, labels in (("lerobot-fused", "fused.hdf5"), ("lerobot-fused-copied", "fused-again.hdf5")):
        check_fused(data / name, data / labels, expected["frames"], is_copied=name.endswith("copied"))
    check_labelling(data, folder / "inside.hdf5")


def check_items(root: Path, backend: str, expected: dict[str, np.ndarray], labels: dict[str, str]) -> None:
    """Iterate over all items in batches: labels to the bit, pictures but for the video's compression."""
    dataset = LeRobotDataset("genie/conformance", root=root, video_backend=backend)
    assert len(dataset) == len(expected["code"])
    assert dataset.num_episodes == expected["episode"].max() + 1
    batches = list(DataLoader(dataset, batch_size=16))
    assert (DECODED in dataset.features) == (DECODED in labels)
    for key, name in labels.items():
        found = np.concatenate([batch[key].numpy() for batch in batches])
        np.testing.assert_array_equal(found, expected[name].astype(found.dtype))
    pictures = np.concatenate([batch[CAMERA].numpy() for batch in batches]).transpose(0, 2, 3, 1)
    errors = np.mean((pictures - expected["frames"] / 255) ** 2, axis=(1, 2, 3))
    worst_db = -10 * np.log10(errors.max())
    assert worst_db > PSNR_DB, f"a picture is off: {worst_db:.1f} dB"
    tasks = {task for batch in batches for task in batch["task"]}
    assert tasks == {"Lift the cube."}
    print(f"{backend}: {len(dataset)} items, {dataset.num_episodes} episodes, pictures at least {worst_db:.1f} dB")


def check_labelled_again(data: Path, name: str) -> None:
    """Labels added to a dataset, or exported with its video copied, are those of a file of their own, item by item."""
    from genie_core.data import open_labelled

    root, outside = data / name, open_labelled(data / "relabelled.hdf5")
    labels = [outside.labels(name)[0] for name in outside.episodes]
    expected = {
        **dict(np.load(data / "expected.npz")),
        **{
            field: np.concatenate([getattr(each, field) for each in labels])
            for field in ("code", "latent", "confidence", "valid")
        },
    }
    print(f"{name}:")
    for backend in ("torchcodec", "pyav"):
        check_items(root, backend, expected, LABELS)
    check_windows(root, expected)
    # Pictures were counted before they were compressed, or, of a copy, after.
    check_statistics(root, expected, 1e-6 if name == "lerobot-in-place" else 0.01)


def check_fused(root: Path, labelled: Path, frames_THWC: np.ndarray, *, is_copied: bool) -> None:
    """Two cameras of one robot: the pictures of both, the fused labels and each camera's own, item by item."""
    from genie_core.data import open_labelled

    said = json.loads((root / "meta/info.json").read_text())["genie"]["video"]
    assert (said == "copied") == is_copied, said
    file = open_labelled(labelled)
    labels = [file.labels(name)[0] for name in file.episodes]
    wanted = {"latent_action": [part.code for part in labels], "latent_action.latent": [part.latent for part in labels]}
    for number, name in enumerate(("top", "wrist")):
        views = [list((part.views or {}).values())[number] for part in labels]
        wanted[f"latent_action.views.{name}.latent"] = [view.latent for view in views]
    pictures = {"observation.images.top": frames_THWC, "observation.images.wrist": frames_THWC[:, ::-1]}
    for backend in ("torchcodec", "pyav"):
        batches = list(DataLoader(LeRobotDataset("genie/fused", root=root, video_backend=backend), batch_size=16))
        for key, parts in wanted.items():
            found = np.concatenate([batch[key].numpy() for batch in batches])
            np.testing.assert_array_equal(found, np.concatenate(parts).astype(found.dtype))
        for camera, expected in pictures.items():
            got = np.concatenate([batch[camera].numpy() for batch in batches]).transpose(0, 2, 3, 1)
            worst_db = -10 * np.log10(np.mean((got - expected / 255) ** 2, axis=(1, 2, 3)).max())
            assert worst_db > PSNR_DB, f"{camera}: a picture is off: {worst_db:.1f} dB"
            print(f"{root.name}, {backend}: {camera}, {len(got)} pictures, at least {worst_db:.1f} dB")


def check_windows(root: Path, expected: dict[str, np.ndarray]) -> None:
    """Two pictures and three labels an item, of one episode out of several, shuffled."""
    moments = {CAMERA: [-0.1, 0.0], "latent_action": [0.0, 0.1, 0.2]}
    dataset = LeRobotDataset("genie/conformance", root=root, episodes=[1], delta_timestamps=moments)
    wanted = expected["code"][expected["episode"] == 1]
    assert len(dataset) == len(wanted)
    for batch in DataLoader(dataset, batch_size=8, shuffle=True):
        assert batch[CAMERA].shape[1:3] == (2, 3)
        assert batch["latent_action"].shape[1:] == (3,)
        np.testing.assert_array_equal(batch["latent_action"][:, 0].numpy(), wanted[batch["frame_index"].numpy()])
    print("windows: delta_timestamps on pictures and labels of one episode")


def check_statistics(root: Path, expected: dict[str, np.ndarray], pictures_within: float = 1e-6) -> None:
    """Our ``stats.json`` against what LeRobot itself computes of the same rows; means of pictures, 0 to 1, so near."""
    dataset = LeRobotDataset("genie/conformance", root=root)
    rows = pq.read_table(root / "data")
    numbers = {key: feature for key, feature in dataset.features.items() if feature["dtype"] != "video"}
    arrays = {key: np.array(rows.column(key).to_pylist()) for key in numbers}
    parts = []
    for episode in range(dataset.num_episodes):
        chosen = expected["episode"] == episode
        parts.append(compute_episode_stats({key: values[chosen] for key, values in arrays.items()}, numbers))
    theirs = aggregate_stats(parts)
    worst = 0.0
    for key, stats in theirs.items():
        ours = dataset.meta.stats[key]
        assert set(ours) == set(stats), key
        for name, value in stats.items():
            assert ours[name].shape == value.shape, (key, name)
            span = np.maximum(stats["max"].astype(float) - stats["min"].astype(float), 1e-6)
            exact = name in {"min", "max", "mean", "std", "count"}
            difference = float(np.max(np.abs(np.subtract(ours[name], value, dtype=float)) / span))
            assert difference < (1e-4 if exact else 1e-3), (key, name, ours[name], value)
            worst = worst if exact else max(worst, difference)
    assert dataset.meta.stats[CAMERA]["mean"].shape == (3, 1, 1)
    means = expected["frames"].mean((0, 1, 2)) / 255
    np.testing.assert_allclose(dataset.meta.stats[CAMERA]["mean"].ravel(), means, atol=pictures_within)
    print(f"statistics: as LeRobot's own; quantiles within {worst:.1e} of the range (theirs are of histograms)")


def check_layout(root: Path, written: Path, expected: dict[str, np.ndarray]) -> None:
    """Columns and types of every file against a dataset of the same features that LeRobot itself writes."""
    ours = LeRobotDataset("genie/conformance", root=root)
    shutil.rmtree(written, ignore_errors=True)
    own = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
    features = {key: dict(feature) for key, feature in ours.features.items() if key not in own}
    for feature in features.values():
        feature.pop("info", None)
    theirs = LeRobotDataset.create("genie/written", ours.fps, features, root=written, vcodec="h264")
    items = pq.read_table(root / "data").slice(0, 4).to_pylist()
    for item, frame in zip(items, expected["frames"], strict=False):
        row: dict[str, Any] = {CAMERA: frame, "task": "Lift the cube."}
        for key, feature in features.items():
            if key != CAMERA:
                row[key] = np.array(item[key], feature["dtype"]).reshape(feature["shape"])
        theirs.add_frame(row)
    theirs.save_episode()
    theirs.finalize()
    for path in sorted(written.rglob("*.parquet")):
        name = path.relative_to(written)
        here, there = pq.read_schema(root / name), pq.read_schema(path)
        mine, wanted = ({field.name: plain(field.type) for field in schema} for schema in (here, there))
        assert mine == wanted, (name, set(mine.items()) ^ set(wanted.items()))
    mine, wanted = (json.loads((folder / "meta/info.json").read_text()) for folder in (root, written))
    assert set(mine) - {"genie"} == set(wanted), set(mine) ^ set(wanted)
    assert set(mine["features"]) == set(wanted["features"])
    ours_video, theirs_video = mine["features"][CAMERA]["info"], wanted["features"][CAMERA]["info"]
    assert ours_video == theirs_video, (ours_video, theirs_video)
    print("layout: columns, types and keys of every file are those that LeRobot writes")


def check_labelling(data: Path, output: Path) -> None:
    """Genie's client in this environment labels LeRobot's dataset as it does in its own: every label to the bit."""
    from genie_core.data import open_labelled

    output.unlink(missing_ok=True)
    genie = Path(sys.executable).with_name("genie")
    words = ["label", data / "lerobot", "--out", output, "--server", os.environ["GENIE_SERVER"]]
    subprocess.run([genie, *words], check=True, stdout=subprocess.DEVNULL)
    inside, outside = open_labelled(output), open_labelled(data / "relabelled.hdf5")
    assert inside.episodes == outside.episodes
    transitions = 0
    for name in outside.episodes:
        ours, theirs = (one.labels(name)[0] for one in (inside, outside))
        for field in ("code", "latent", "confidence", "valid"):
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))
        transitions += len(theirs)
    packages = ("genie-latent", "av", "protobuf", "grpcio", "pyarrow", "fsspec")
    beside = ", ".join(f"{name} {version(name)}" for name in packages)
    print(f"labelling: {transitions} transitions from inside this environment, to the bit ({beside})")


def plain(kind: Any) -> str:
    """A type without what differs in name only: of lists the field's, whether the length is fixed, and int32 counts."""
    text = (
        str(kind)
        .replace("large_", "")
        .replace("element: ", "")
        .replace("item: ", "")
        .replace("fixed_size_list", "list")
    )
    return text.split(">[")[0] + ">" if ">[" in text else text


def with_ffmpeg(folder: Path) -> None:
    """Start anew with FFmpeg's libraries where torchcodec finds none: those inside PyAV, under their usual names."""
    try:
        import torchcodec  # noqa: F401
    except RuntimeError:
        if "GENIE_FFMPEG" in os.environ:
            raise
    else:
        return
    import av

    libraries = Path(av.__file__).parent.parent / "av.libs"
    links = folder / "ffmpeg"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    for path in libraries.glob("lib*-*.so.*"):
        stem, _, rest = path.name.partition("-")
        number = rest.split(".so.")[1].split(".")[0]
        if stem.removeprefix("lib").startswith(("av", "sw")):
            (links / f"{stem}.so.{number}").symlink_to(path)
    print("torchcodec finds no FFmpeg here: lending it the libraries that PyAV brings")
    sys.stdout.flush()
    paths = [str(links), str(libraries), os.environ.get("LD_LIBRARY_PATH", "")]
    environ = {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, paths)), "GENIE_FFMPEG": "1"}
    os.execve(sys.executable, [sys.executable, *sys.argv], environ)


if __name__ == "__main__":
    with_ffmpeg(Path(sys.argv[2]))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
