from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from genie_core.inference.sampler import revealed_after, sample_frame

TOKENS, CODES = 16, 10


def draw(
    logits: torch.Tensor, *, batch: int = 2, steps: int = 5, temperature: float = 1.0, seed: int = 0
) -> torch.Tensor:
    return sample_frame(
        lambda token_BN: logits.expand(len(token_BN), TOKENS, CODES),
        batch=batch,
        tokens=TOKENS,
        codes=CODES,
        steps=steps,
        temperature=temperature,
        generator=torch.Generator().manual_seed(seed),
        device=torch.device("cpu"),
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
    first = draw(flat)
    assert first.shape == (2, TOKENS)
    assert first.max() < CODES
    assert torch.equal(first, draw(flat))
    assert not torch.equal(first, draw(flat, seed=1))
    assert torch.equal(first[0], first[1])


def test_a_low_temperature_takes_the_likeliest_code() -> None:
    logits = torch.zeros(CODES)
    logits[3] = 1
    assert (draw(logits, temperature=1e-3) == 3).all()


def test_draws_follow_the_softmax() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.2] + [0.0] * (CODES - 3))
    drawn = torch.cat([draw(probabilities.log(), seed=s)[0] for s in range(300)])
    share = torch.bincount(drawn, minlength=CODES).double() / len(drawn)
    assert (share - probabilities).abs().max() < 0.03


def test_visible_tokens_are_shown_to_later_steps_and_never_drawn_again() -> None:
    seen: list[torch.Tensor] = []

    def logits(token_BN: torch.Tensor) -> torch.Tensor:
        seen.append(token_BN.clone())
        return torch.zeros(len(token_BN), TOKENS, CODES)

    out = sample_frame(
        logits,
        batch=1,
        tokens=TOKENS,
        codes=CODES,
        steps=6,
        temperature=1.0,
        generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )
    hidden = [int((s == CODES).sum()) for s in seen]
    assert hidden[0] == TOKENS
    assert hidden == sorted(hidden, reverse=True)
    for s in seen:
        visible = s != CODES
        assert torch.equal(s[visible], out[visible])
