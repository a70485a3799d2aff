from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from genie_core.models.config import MendingConfig, ModelConfig, MoverConfig, QuantizerConfig
from genie_core.models.dynamics import Told
from genie_core.models.genie import Genie
from genie_core.models.mending import OTHERS, TOLD, MovedFrame, _doubt, _outside, mended, move_in_doubt, tells
from genie_core.models.mover import FrameMover, Moving
from genie_core.models.presets import preset
from genie_core.models.quantizer import VectorQuantizer

GRID = (4, 4)


def mending_mover() -> FrameMover:
    torch.manual_seed(0)
    return FrameMover(MoverConfig(width=8, blocks=1, mending=MendingConfig()), 6, 4).eval()


@torch.inference_mode()
def test_flow_is_in_doubt_where_something_moves_and_at_edges_that_come_in() -> None:
    motion, outside = torch.zeros(1, 2, 32, 32), torch.zeros(1, 1, 32, 32)
    assert _doubt(motion, outside, GRID, 0.5).max() == 0
    motion[:, :, 2, 3] = 3.0
    doubt = _doubt(motion, outside, GRID, 0.5)[0]
    assert doubt[:2, :2].min() == 1  # the token and those around it
    assert doubt[2:].max() == doubt[:, 2:].max() == 0
    # The picture goes 5 pixels of 64 to the right: the left edge shows what was outside.
    back = torch.zeros(1, 2, 32, 32)
    back[:, 0] = -5
    outside = _outside(back)[0, 0]
    assert outside[:, 0].tolist() == [4.0] * 32
    assert outside[:, 3:].max() == 0


@torch.inference_mode()
def test_tokens_in_doubt_show_the_picture_that_they_are_of_and_the_rest_is_the_moved_frame_to_the_bit() -> None:
    frame, drawn = torch.rand(1, 3, 32, 32) - 0.5, torch.rand(1, 3, 32, 32) - 0.5
    others = torch.rand(1, OTHERS, 3, 32, 32) - 0.5
    doubt = torch.zeros(1, 4, 4)
    doubt[:, :, :2] = 1
    before = torch.zeros(1, 16, dtype=torch.int64)
    told = Told(torch.zeros(1, 1, TOLD, 32, 32), torch.arange(1, 1 + OTHERS).expand(1, 1, 16, -1))
    after = before.clone()
    after[0, [0, 3, 12]] = torch.tensor([7, 7, 2])  # drawn, and in doubt; not in doubt; the second of the others
    moved = MovedFrame(Moving(frame, None), others, told.maps_BTCHW[:, 0], doubt, torch.ones(1, 1))
    shown = mended(moved, before, told, after, drawn)
    torch.testing.assert_close(shown[..., :4, :4], drawn[..., :4, :4])
    torch.testing.assert_close(shown[..., 28:, :4], others[:, 1, :, 28:, :4])
    assert torch.equal(shown[..., 12:20, :], frame[..., 12:20, :])
    assert torch.equal(shown[..., 12:], frame[..., 12:])
    assert torch.equal(mended(moved, before, told, before, drawn), frame)


@torch.inference_mode()
def test_a_token_is_shown_decoded_only_where_it_tells_more_than_the_tokenizers_own_errors() -> None:
    frame, others = torch.zeros(1, 3, 32, 32), torch.rand(1, OTHERS, 3, 32, 32) - 0.5
    doubt = torch.ones(1, 4, 4)
    moved = MovedFrame(Moving(frame, None), others, torch.zeros(1, TOLD, 32, 32), doubt, torch.ones(1, 1))
    own = torch.full((1, 3, 32, 32), 0.05)  # the tokenizer errs by 0.05 everywhere
    drawn = own.clone()
    drawn[..., :8, :8] += 0.16  # above 3 times that: squares are compared with 8 times the square
    drawn[..., :8, 8:16] += 0.12
    told = tells(moved, drawn, own, 8.0)
    assert told.nonzero().tolist() == [[0, 0]]
    assert tells(moved, drawn, own, 0.0).all()
    before, after = torch.zeros(1, 16, dtype=torch.int64), torch.full((1, 16), 9)
    after[0, 15] = 3  # of another picture: that is shown, whatever it tells
    pictures = Told(moved.told_BCHW[:, None], torch.arange(1, 1 + OTHERS).expand(1, 1, 16, -1))
    shown = mended(moved, before, pictures, after, drawn, told)
    torch.testing.assert_close(shown[..., :4, :4], drawn[..., :4, :4])
    assert torch.equal(shown[..., :8, 20:], frame[..., :8, 20:])
    torch.testing.assert_close(shown[..., 28:, 28:], others[:, 2, :, 28:, 28:])


@torch.inference_mode()
def test_a_moved_frame_in_doubt_is_what_the_mover_shows_and_told_in_maps() -> None:
    mover = mending_mover()
    prompt, latent = torch.rand(2, 3, 3, 32, 32) - 0.5, torch.randn(2, 6)
    now = mover.begin(prompt, torch.randn(2, 2, 6))
    moved = move_in_doubt(mover, GRID, now, latent)
    assert moved.told_BCHW.shape == (2, TOLD, 32, 32)
    assert torch.equal(moved.moving.rounded().frame_BCHW, mover.move(now, latent).frame_BCHW)
    with pytest.raises(ValueError, match="no tokens mend"):
        move_in_doubt(FrameMover(MoverConfig(width=8), 6, 4), GRID, now, latent)


@torch.inference_mode()
def test_codes_of_many_rollouts_stand_for_what_those_of_one_do() -> None:
    mover, quantizer = mending_mover(), VectorQuantizer(QuantizerConfig(codes=4, dim=6, metric="euclidean")).eval()
    prompt, code = torch.randn(3, 5, 6), torch.randint(4, (3, 7))
    told = mover.told(quantizer, prompt, code)
    for i in range(3):
        torch.testing.assert_close(told[i], mover.spoken(quantizer, prompt[i])[code[i]])
    assert torch.equal(mover.told(quantizer, prompt[:, :0], code), quantizer.lookup(code))


def test_a_model_that_mends_has_all_networks_and_few_steps() -> None:
    config = preset("motion-tokens")
    assert config.components == ("tokenizer", "lam", "dynamics", "mover")
    assert config.maskgit_steps == 3
    assert preset("tiny").maskgit_steps == 25
    with torch.device("meta"):
        assert Genie(config).dynamics.maps is not None
    values = config.model_dump()
    values["dynamics"]["temporal"] = "st"
    with pytest.raises(ValidationError, match=r"dynamics\.temporal 'none'"):
        ModelConfig.model_validate(values)
