from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from genie_core.inference.sampler import Chance, revealed_after, sample_frame

TOKENS, CODES = 16, 10


def draw(
    logits: torch.Tensor, *, steps: int = 5, temperature: float = 1.0, seeds: tuple[int, ...] = (0,)
) -> torch.Tensor:
    """Tokens of streams with these seeds, where all places have the same logits."""
    chances = [Chance.draw(TOKENS, CODES, torch.Generator().manual_seed(seed)) for seed in seeds]
    return sample_frame(
        lambda token_BN, at_BM: logits.expand(*at_BM.shape, CODES),
        Chance.join(chances, torch.device("cpu")),
        steps=steps,
        temperature_B=torch.full((len(seeds),), temperature),
    )


@given(steps=st.integers(1, 64), tokens=st.integers(1, 256))
def test_the_schedule_rises_to_all_tokens(steps: int, tokens: int) -> None:
    shown = revealed_after(steps, tokens)
    assert len(shown) == steps
    assert shown[-1] == tokens
    assert shown == sorted(shown)
    assert shown[0] >= 1


def test_the_schedule_follows_the_cosine() -> None:
    assert revealed_after(4, 100) == [8, 30, 62, 100]


def test_every_token_is_drawn_from_the_codes_and_the_seed_decides() -> None:
    flat = torch.zeros(CODES)
    first = draw(flat, seeds=(0, 0, 1))
    assert first.shape == (3, TOKENS)
    assert first.max() < CODES
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_a_stream_does_not_depend_on_what_is_drawn_beside_it() -> None:
    logits = torch.randn(CODES, generator=torch.Generator().manual_seed(0))
    together = draw(logits, seeds=(3, 1, 2))
    for row, seed in zip(together, (3, 1, 2), strict=True):
        assert torch.equal(row, draw(logits, seeds=(seed,))[0])


def test_a_low_temperature_takes_the_likeliest_code() -> None:
    logits = torch.zeros(CODES)
    logits[3] = 1
    assert (draw(logits, temperature=1e-3) == 3).all()


def test_draws_follow_the_softmax() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.2] + [0.0] * (CODES - 3))
    drawn = draw(probabilities.log(), seeds=tuple(range(300))).flatten()
    share = torch.bincount(drawn, minlength=CODES).double() / len(drawn)
    assert (share - probabilities).abs().max() < 0.03


def test_visible_tokens_are_shown_to_later_steps_and_never_drawn_again() -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def logits(token_BN: torch.Tensor, at_BM: torch.Tensor) -> torch.Tensor:
        seen.append((token_BN.clone(), at_BM))
        return torch.zeros(*at_BM.shape, CODES)

    chance = Chance.draw(TOKENS, CODES, torch.Generator().manual_seed(0))
    out = sample_frame(logits, chance, steps=6, temperature_B=torch.ones(1))
    hidden = [int((tokens == CODES).sum()) for tokens, _ in seen]
    assert hidden[0] == TOKENS
    assert hidden == sorted(hidden, reverse=True)
    for tokens, _ in seen:
        visible = tokens != CODES
        assert torch.equal(tokens[visible], out[visible])
    asked = torch.cat([at_BM for _, at_BM in seen], dim=1)
    assert torch.equal(asked, chance.order_BN)
