from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from genie_core.errors import RequestError
from genie_core.inference import Sampling, Simulator, draw_together
from genie_core.inference.sampler import Chance, sample_frame
from genie_core.inference.shapes import draw_shapes
from genie_core.inference.simulator import _frame_generator
from genie_core.models.bundle import load_bundle, save_bundle
from genie_core.models.config import MendingConfig, MoverConfig, RefinerConfig
from genie_core.models.dynamics import previous_tokens
from genie_core.models.genie import Genie
from genie_core.models.mover import Moving
from genie_core.models.patches import to_frames, to_pixels
from tests.factories.bundles import make_motion_bundle, make_nano_bundle

FAST = Sampling(maskgit_steps=4, temperature=1.0, seed=3)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Simulator:
    return Simulator(load_bundle(make_nano_bundle(tmp_path_factory.mktemp("bundles") / "nano")))


def prompt(frames: int = 1, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(256, size=(frames, 32, 32, 3), dtype=np.uint8)


def test_the_same_seed_gives_the_same_video_and_another_does_not(simulator: Simulator) -> None:
    first = simulator.rollout(prompt(), [1, 2, 3], FAST)
    assert first.shape == (3, 32, 32, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, simulator.rollout(prompt(), [1, 2, 3], FAST))
    other = simulator.rollout(prompt(), [1, 2, 3], Sampling(4, 1.0, seed=4))
    assert (first != other).any()


def test_branches_are_what_single_rollouts_are(simulator: Simulator) -> None:
    sequences = [[0, 1, 2], [0, 1, 2], [7, 6, 5]]
    together = simulator.start(prompt(), 3, FAST)
    frames = np.stack([together.step([s[t] for s in sequences]) for t in range(3)], axis=1)
    for branch, actions in zip(frames, sequences, strict=True):
        np.testing.assert_array_equal(branch, simulator.rollout(prompt(), actions, FAST))


def test_streams_drawn_together_are_what_they_are_alone(simulator: Simulator) -> None:
    """Of different prompts, seeds, temperatures and ages, in one batch."""
    samplings = [FAST, Sampling(4, 0.3, seed=8), Sampling(4, 2.0, seed=3)]
    rollouts = [simulator.start(prompt(n + 1, seed=n), 1, sampling) for n, sampling in enumerate(samplings)]
    rollouts[0].step([4])
    for t in range(6):
        frames = draw_together([(rollout.branches[0], t) for rollout in rollouts])
    for n, (sampling, frame) in enumerate(zip(samplings, frames, strict=True)):
        actions = [*([4] if n == 0 else []), *range(6)]
        alone = simulator.rollout(prompt(n + 1, seed=n), actions, sampling)[-1]
        assert (frame != alone).mean() < 0.01  # only rounding may differ: the engine batches what is exact alone


@pytest.mark.parametrize(("refiner", "steady_px"), [(RefinerConfig(width=8, blocks=1), 1.0), (None, 1.0), (None, 0.0)])
def test_moved_branches_are_what_single_rollouts_are_and_take_the_memory_that_is_charged(
    tmp_path: Path, refiner: RefinerConfig | None, steady_px: float
) -> None:
    mover = MoverConfig(width=8, blocks=1, refiner=refiner, steady_px=steady_px)
    simulator = Simulator(load_bundle(make_motion_bundle(tmp_path / "moving", mover=mover)))
    latents = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    sequences = [[0, 1, 2], list(latents), [0, latents[1], 3]]
    together = simulator.start(prompt(3), 3)
    frames = np.stack([together.step([s[t] for s in sequences]) for t in range(3)], axis=1)
    for branch, actions in zip(frames, sequences, strict=True):
        np.testing.assert_array_equal(branch, simulator.rollout(prompt(3), actions))
    stream = together.branches[0]
    assert isinstance(stream.past, Moving)
    held = sum(tensor.nbytes for tensor in (*stream.past.tensors, stream.spoken_KD))
    assert simulator.state_bytes() == held
    fewer = simulator.rollout(prompt(3)[1:], list(latents))
    assert (fewer != frames[1]).any() == (refiner is not None)  # what the oldest frame showed may come into view


@pytest.fixture(scope="module")
def mending(tmp_path_factory: pytest.TempPathFactory) -> Simulator:
    """Random tokens mend all that moves at all."""
    mover = MoverConfig(width=8, blocks=1, mending=MendingConfig(doubt_px=1e-6, least_change=0))
    return Simulator(load_bundle(make_motion_bundle(tmp_path_factory.mktemp("bundles") / "mending", mover=mover)))


def test_mended_rollouts_depend_on_seed_and_request_alone(mending: Simulator) -> None:
    latents = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    together = mending.start(prompt(3), 3, Sampling(seed=3))
    sequences = [[0, 1, 2], list(latents), [0, latents[1], 3]]
    frames = np.stack([together.step([s[t] for s in sequences]) for t in range(3)], axis=1)
    assert together.maskgit_steps == 3
    for branch, actions in zip(frames, sequences, strict=True):
        np.testing.assert_array_equal(branch, mending.rollout(prompt(3), actions, Sampling(seed=3)))
    assert (mending.rollout(prompt(3), sequences[1], Sampling(seed=4)) != frames[1]).any()
    stream = together.branches[0]
    assert isinstance(stream.past, Moving)
    assert mending.state_bytes() == sum(tensor.nbytes for tensor in (*stream.past.tensors, stream.spoken_KD))


def test_without_steps_frames_are_those_of_the_mover_to_the_bit(mending: Simulator, tmp_path: Path) -> None:
    config, genie = mending.bundle.config, mending.bundle.genie
    assert config.mover is not None
    mover = config.mover.model_copy(update={"mending": None})
    alone = Genie(config.model_copy(update={"mover": mover}))
    for name in ("lam", "mover"):
        getattr(alone, name).load_state_dict(getattr(genie, name).state_dict())
    save_bundle(tmp_path / "alone", alone, "")
    moved = Simulator(load_bundle(tmp_path / "alone")).rollout(prompt(3), [0, 1, 2])
    np.testing.assert_array_equal(mending.rollout(prompt(3), [0, 1, 2], Sampling(0)), moved)
    assert (mending.rollout(prompt(3), [0, 1, 2]) != moved).any()


def test_a_bundle_may_move_frames_only_unless_it_is_asked_for_more(mending: Simulator, tmp_path: Path) -> None:
    config = mending.bundle.config
    assert config.mover is not None
    mover = config.mover.model_copy(update={"mending": MendingConfig(steps=0, doubt_px=1e-6, least_change=0)})
    save_bundle(tmp_path / "mover", Genie(config.model_copy(update={"mover": mover})), "")
    other = Simulator(load_bundle(tmp_path / "mover"))
    for network in config.components:
        getattr(other.bundle.genie, network).load_state_dict(getattr(mending.bundle.genie, network).state_dict())
    actions = [0, 1, 2]
    moved = mending.rollout(prompt(3), actions, Sampling(0))
    np.testing.assert_array_equal(other.rollout(prompt(3), actions), moved)
    mended = mending.rollout(prompt(3), actions, Sampling(3))
    np.testing.assert_array_equal(other.rollout(prompt(3), actions, Sampling(3)), mended)
    assert draw_shapes(other, largest=8, threads=2).sizes == (1,)


def test_nothing_is_mended_where_nothing_is_done(mending: Simulator) -> None:
    still = mending.rollout(prompt(2), [np.zeros(6, np.float32)] * 2)
    np.testing.assert_array_equal(still, np.stack([prompt(2)[-1]] * 2))


@torch.inference_mode()
def test_carried_state_gives_what_recomputing_the_whole_window_gives(simulator: Simulator) -> None:
    """Longer than the window, so that it slides: the plain way computes every frame of the past again at every step."""
    genie, config = simulator.bundle.genie, simulator.bundle.config
    actions = [3, 1, 4, 1, 5, 2, 6]
    fast = simulator.rollout(prompt(2), actions, FAST)
    pixels = to_pixels(torch.from_numpy(prompt(2)[None]))
    tokens = genie.tokenizer.encode(pixels)
    read = genie.lam.quantizer.lookup(genie.lam.quantizer.nearest(genie.lam.latents(pixels)))
    action = torch.cat((torch.zeros_like(read[:, :1]), read), dim=1)
    for t, code in enumerate(actions):
        now = genie.lam.quantizer.lookup(torch.tensor([[code]]))
        action = torch.cat((action, now), dim=1)

        def logits(token_BN: torch.Tensor, at_BM: torch.Tensor) -> torch.Tensor:
            everything = torch.cat((tokens, token_BN[:, None]), dim=1)  # noqa: B023 - used at once
            return genie.dynamics(everything, previous_tokens(everything, 64), action)[:, -1, at_BM[0]]  # noqa: B023

        chance = Chance.draw(config.tokens_per_frame, 64, _frame_generator(3, t))
        drawn = sample_frame(logits, chance, steps=4, temperature_B=torch.ones(1))
        tokens = torch.cat((tokens, drawn[:, None]), dim=1)
    plain = to_frames(genie.tokenizer.decode(tokens))[0, 2:].numpy()
    assert np.abs(fast.astype(int) - plain.astype(int)).max() <= 1


def test_numbers_drawn_ahead_are_those_of_their_frame_alone(simulator: Simulator) -> None:
    ahead, plain = (simulator.start(prompt(), 1, FAST).branches[0] for _ in range(2))
    for stream in (ahead, plain):
        stream.chance()
    ahead.draw_ahead()
    for _ in range(2):  # the frame failed, and is drawn again; then the next
        assert torch.equal(ahead.chance().gumbel_BNK, plain.chance().gumbel_BNK)
        ahead.draw_ahead()
        for stream in (ahead, plain):
            stream.frames += 1
    used, wanted = ahead.chance(), plain.chance()
    assert torch.equal(used.gumbel_BNK, wanted.gumbel_BNK)
    assert torch.equal(used.order_BN, wanted.order_BN)


def test_a_frame_of_the_past_matters_as_long_as_it_is_in_reach(simulator: Simulator) -> None:
    a = simulator.rollout(prompt(), [1, 1], FAST)
    b = simulator.rollout(prompt(seed=9), [1, 1], FAST)
    assert (a != b).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maskgit_steps": 0}, "maskgit_steps: got 0, expected 1 to 16"),
        ({"maskgit_steps": 17}, "maskgit_steps: got 17"),
        ({"temperature": 0.0}, "temperature: got 0.0"),
        ({"temperature": float("nan")}, "temperature: got nan"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_bad_options_are_named(simulator: Simulator, change: dict[str, float], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        simulator.start(prompt(), 1, Sampling(**change))  # type: ignore[arg-type]


def test_bad_prompts_and_actions_are_named(simulator: Simulator) -> None:
    with pytest.raises(RequestError, match="prompt: got 5 frames, expected 1 to 4"):
        simulator.start(prompt(5))
    with pytest.raises(RequestError, match="prompt"):
        simulator.start(prompt().astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="actions: latent action 8 is out of range, expected 0 to 7"):
        simulator.rollout(prompt(), [1, 8])
    with pytest.raises(RequestError, match="actions: got none"):
        simulator.rollout(prompt(), [])
    with pytest.raises(RequestError, match="got 1 latent actions, expected 2"):
        simulator.start(prompt(), 2, FAST).step([0])


def test_the_shipped_models_folder_is_found(tmp_path: Path) -> None:
    from genie_core.bundles import DEFAULT, DEMO, bundle_folder, models_dir, shipped
    from genie_core.errors import ModelError
    from genie_core.models.bundle import read_bundle_info

    assert models_dir().is_dir()
    with pytest.raises(ModelError, match="no bundle 'huge'"):
        shipped("huge")
    with pytest.raises(ModelError, match="huge: no such folder, and no bundle 'huge' ships with Genie"):
        bundle_folder("huge")
    both = [read_bundle_info(shipped(name)).config for name in (DEFAULT, DEMO)]
    assert all(config.context_frames for config in both)  # what is used where none is named labels and simulates
    assert read_bundle_info(shipped()).usual_norm is not None
