from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_core.models.attention import attention
from genie_core.models.config import TransformerConfig
from genie_core.models.frame_graph import FrameGraph
from genie_core.models.transformer import SpatioTemporalTransformer, TemporalMode, compile_blocks

CONFIG = TransformerConfig(layers=3, dim=16, heads=2, window=3)
T, N = 9, 4


def network(mode: TemporalMode = "st", seed: int = 0) -> SpatioTemporalTransformer:
    torch.manual_seed(seed)
    return SpatioTemporalTransformer(CONFIG, mode).eval().double()


def clip(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, T, N, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.inference_mode()
@given(cuts=st.lists(st.integers(1, T - 1), unique=True, max_size=T - 1))
@settings(max_examples=25)
def test_a_stream_cut_anywhere_gives_what_the_whole_clip_gives(cuts: list[int]) -> None:
    transformer, x = network(), clip()
    state, parts = transformer.initial_state(2, N), []
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), T], strict=True):
        y, state = transformer.stream(x[:, first:last], state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), transformer(x), rtol=0, atol=1e-12)


@torch.inference_mode()
@pytest.mark.parametrize("mode", ["st", "c", "none"])
def test_no_frame_sees_a_later_one(mode: TemporalMode) -> None:
    transformer, x = network(mode), clip()
    changed = x.clone()
    changed[:, 5:] = -changed[:, 5:]
    before, after = transformer(x), transformer(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=0)
    assert (before[:, 5:] - after[:, 5:]).abs().amax() > 1e-3


@torch.inference_mode()
def test_attention_reaches_back_a_fixed_window_and_space_mixes_within_a_frame() -> None:
    transformer, x = network(), clip()
    changed = x.clone()
    changed[:, 0, 0] = -changed[:, 0, 0]
    moved = (transformer(x) - transformer(changed)).abs().amax(dim=(0, 2, 3)) > 1e-9
    reach = CONFIG.layers * (CONFIG.window - 1)
    assert moved.tolist() == [t <= reach for t in range(T)]
    assert (transformer(x) - transformer(changed)).abs()[:, 0].amax(dim=(0, 2)).gt(1e-9).all()


@torch.inference_mode()
def test_without_temporal_attention_frames_do_not_mix() -> None:
    transformer, x = network("none"), clip()
    changed = x.clone()
    changed[:, 2] = -changed[:, 2]
    moved = (transformer(x) - transformer(changed)).abs().amax(dim=(0, 2, 3)) > 0
    assert moved.tolist() == [t == 2 for t in range(T)]


@torch.inference_mode()
def test_the_same_frames_later_in_an_endless_stream_give_the_same_numbers() -> None:
    transformer, x = network(), clip()
    state = transformer.initial_state(2, N)
    first, _ = transformer.stream(x, state)
    for _ in range(5):
        second, state = transformer.stream(x, state)
    reach = CONFIG.layers * (CONFIG.window - 1)
    third, _ = transformer.stream(x, state)
    torch.testing.assert_close(second, third, rtol=0, atol=1e-12)
    assert not torch.allclose(first[:, 0], third[:, 0])
    torch.testing.assert_close(first[:, reach:], third[:, reach:], rtol=0, atol=1e-12)


@torch.inference_mode()
@pytest.mark.parametrize("mode", ["st", "c", "none"])
@pytest.mark.parametrize("seen", [0, 1, 5])
def test_some_places_of_a_frame_are_what_the_stream_gives_there(mode: TemporalMode, seen: int) -> None:
    transformer, x = network(mode), clip()
    state = transformer.initial_state(2, N)
    if seen:
        _, state = transformer.stream(x[:, :seen], state)
    whole, after = transformer.stream(x[:, seen : seen + 1], state)
    past, at = transformer.past(state), torch.tensor([[2, 0, 2], [3, 3, 1]])
    transformer.frame_at(-x[:, seen : seen + 1], past, at)  # another version of the frame leaves nothing behind
    some = transformer.frame_at(x[:, seen : seen + 1], past, at)
    wanted = torch.stack([whole[b, :, at[b]] for b in range(2)])
    torch.testing.assert_close(some, wanted, rtol=0, atol=1e-12)
    state = transformer.advance(x[:, seen : seen + 1], past)
    for name in ("keys", "values", "frames_B"):
        torch.testing.assert_close(getattr(state, name), getattr(after, name), rtol=0, atol=1e-12)


@torch.inference_mode()
def test_a_recorded_pass_gives_what_the_stream_gives_frame_after_frame() -> None:
    transformer, x = network(), clip()[:1]
    state = wanted_state = transformer.initial_state(1, N)
    graph, at = FrameGraph(transformer.past(state).tensors, record=lambda work: work), torch.arange(N)[None]
    for t in range(T):
        whole, wanted_state = transformer.stream(x[:, t : t + 1], wanted_state)
        past = transformer.replayed(transformer.past(state), graph)
        transformer.frame_at(-x[:, t : t + 1], past, at)
        torch.testing.assert_close(transformer.frame_at(x[:, t : t + 1], past, at), whole, rtol=0, atol=1e-12)
        state = transformer.advance(x[:, t : t + 1], past)
        for name in ("keys", "values", "frames_B"):
            torch.testing.assert_close(getattr(state, name), getattr(wanted_state, name), rtol=0, atol=1e-12)


def test_attention_is_the_same_with_gradients_and_without() -> None:
    q, k, v = torch.randn(3, 2, 3, 4, 5, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fused = attention(q, k, v)
    torch.testing.assert_close(fused, attention(q, k, v), rtol=0, atol=1e-6)
    everything = torch.ones(5, 5, dtype=torch.bool)
    torch.testing.assert_close(fused, attention(q, k, v, everything), rtol=0, atol=1e-6)


def test_compiled_blocks_compute_and_learn_the_same() -> None:
    plain, compiled, x = network(), network(), clip()
    compile_blocks(compiled, backend="eager")
    for one in (plain, compiled):
        one(x).square().sum().backward()
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for ours, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="heads"):
        TransformerConfig(layers=1, dim=16, heads=3)
