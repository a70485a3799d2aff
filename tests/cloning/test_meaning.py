"""From latents to actions, intervals, the plot, and the whole loop with a latent that is known to be right."""

from __future__ import annotations

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from genie_cli.bc import bc
from genie_core.cloning.demonstrations import labelled_rows
from genie_core.cloning.meaning import Labelled, Scale, fit_reader
from genie_core.cloning.plot import Curve, success_plot
from genie_core.cloning.policy import PolicyConfig, moments, train_policy
from genie_core.cloning.rollout import Blind, Latent, roll_out
from genie_core.errors import DatasetError, RequestError
from genie_core.statistics.intervals import Rate, difference, success_rate, wilson
from tests.support.dot_task import Dots


def encode(actions_NA):
    """A made-up latent: unit vectors that say everything about the action, not linearly."""
    mixed = np.tanh(actions_NA @ np.random.default_rng(3).normal(size=(2, 8)))
    return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


UNIT = Scale(None)
CODEBOOK = encode(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))


def labelled(count, seed=0):
    actions = np.random.default_rng(seed).uniform(-1, 1, (count, 2))
    latents = encode(actions)
    return Labelled(latents, actions, np.arange(count) // 8)


def test_the_reader_finds_actions_in_latents_of_any_length():
    reader, test = fit_reader(labelled(200), UNIT, CODEBOOK, 0), labelled(50, seed=1)
    read = np.array([reader.read(0.5 * latent) for latent in test.vectors_ND])
    assert 1 - np.square(read - test.actions_NA).mean() / test.actions_NA.var() > 0.8


def test_where_length_means_something_the_reader_hears_it():
    """Latents whose length says how far: of unit length, those of a step and of half a step would be the same."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (200, 2))
    vectors = 300 * actions @ rng.normal(size=(2, 8))
    reader = fit_reader(Labelled(vectors, actions, np.arange(200) // 8), Scale.of(vectors), None, 0)
    for share in (0.25, 0.5, 1.0):
        np.testing.assert_allclose(reader.read(share * vectors[0]), share * actions[0], atol=0.05)


@pytest.mark.parametrize("count", [1, 2, 10])
def test_few_labels_do_not_break_the_reader(count):
    read = fit_reader(labelled(count), UNIT, CODEBOOK, 0).read(np.zeros(8))
    assert np.isfinite(read).all()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data(), st.integers(0, 99))
def test_labels_are_whole_demonstrations_but_the_last(lengths, data, seed):
    count = data.draw(st.integers(1, sum(lengths)))
    rows = labelled_rows(lengths, count, seed)
    owner = np.repeat(np.arange(len(lengths)), lengths)[rows]
    assert len(set(rows.tolist())) == count
    for demo in owner[: count - 1]:
        if demo != owner[-1]:
            assert (owner == demo).sum() == lengths[demo]
    np.testing.assert_array_equal(labelled_rows(lengths, sum(lengths), seed)[:count], rows)


def test_more_labels_than_transitions():
    with pytest.raises(DatasetError, match="got 9, the demonstrations have 8"):
        labelled_rows([4, 4], 9, 0)


def test_a_policy_from_latents_and_a_few_labels_does_the_task_and_random_actions_do_not():
    world, rng = Dots(0), np.random.default_rng(0)
    videos, actions = [], []
    for number in range(150):
        world.reset(number)
        frames = [world.frame()]
        for _ in range(5):
            actions.append(np.clip(world.expert() + rng.normal(0, 0.1, 2), -1, 1))
            world.step(actions[-1])
            frames.append(world.frame())
        videos.append(np.stack(frames))
    latents = encode(np.array(actions))
    policy = train_policy(moments(videos, 2), latents, "numbers", 8, PolicyConfig(steps=300, shift=0), 0)
    agent = Latent(policy, fit_reader(labelled(100), UNIT, CODEBOOK, 0))

    def successes(agent):
        return np.mean([roll_out(Dots(1), agent, i, 12, np.random.default_rng(i)) > 0 for i in range(30)])

    assert successes(agent) > 0.7
    assert successes(Blind(2)) < 0.4


def test_an_interval_holds_its_rate_and_shrinks_with_more_starts():
    rng = np.random.default_rng(0)
    few, many = (success_rate(rng.random((5, starts)) < 0.7, 0) for starts in (20, 400))
    assert few.low < few.value < few.high
    assert many.high - many.low < few.high - few.low


def test_seeds_that_differ_widen_the_interval():
    alike, apart = np.zeros((4, 100), bool), np.zeros((4, 100), bool)
    alike[:, ::2] = True
    apart[:2] = True
    some, other = success_rate(alike, 0), success_rate(apart, 0)
    assert some.value == other.value == 0.5
    assert other.high - other.low > 2 * (some.high - some.low)


def test_where_all_end_alike_the_interval_is_wilsons_of_the_starts():
    assert success_rate(np.ones((5, 100), bool), 0) == Rate(1.0, *wilson(100, 100))
    assert wilson(0, 100) == pytest.approx((0.0, 0.0370), abs=1e-4)
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def test_the_difference_of_a_policy_to_itself_is_nothing():
    some = np.random.default_rng(0).random((5, 50)) < 0.5
    assert difference(some, some, 0) == Rate(0.0, 0.0, 0.0)
    assert difference(np.ones_like(some), some, 0).low > 0


def test_the_plot_has_a_line_a_method_and_escapes_names():
    rate = Rate(0.5, 0.4, 0.6)
    svg = success_plot([Curve("a < b", "#111", {10: rate, 50: rate}), Curve("all", "#222", rate)], [10, 50])
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 2
    assert "a &lt; b" in svg


def run(*words):
    app = typer.Typer()
    app.command()(bc)
    return CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False, standalone_mode=False)


def test_bad_options_are_named():
    with pytest.raises(RequestError, match="--only: got 'oracel', expected some of oracle, codes"):
        run("bundle", "--out", "x", "--only", "oracel")
    with pytest.raises(RequestError, match="--labelled: got '10,many', expected whole numbers"):
        run("bundle", "--out", "x", "--labelled", "10,many")
