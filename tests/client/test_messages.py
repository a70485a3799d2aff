"""Building and reading messages: what is sent, what is refused before it is sent, and what a server may not answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from genie_api.v1 import frames_pb2, labelling_pb2, models_pb2, simulation_pb2
from genie_client import HostedAlignment, ModelInfo, RequestError, ServerError, messages
from genie_client import simulation_messages as simulations
from genie_client.arguments import LabelArguments, SimulationArguments
from genie_core.data import Computation, resize_frames
from tests.factories.data import make_frames

SIZE = (32, 32)


@pytest.fixture
def info() -> ModelInfo:
    codebook = np.arange(8 * 4, dtype="<f4").reshape(8, 4)
    message = models_pb2.Model(
        name="models/tiny",
        state=models_pb2.MODEL_STATE_READY,
        frame_height=32,
        frame_width=32,
        model_fps=10,
        num_codes=8,
        precision="float32",
        latent_dim=4,
        codebook=codebook.tobytes(),
        palette=range(8),
    )
    return messages.model_info(message)


def test_model_names_travel_as_resource_names() -> None:
    assert messages.resource_name(None) == messages.resource_name("") == ""
    assert messages.resource_name("tiny") == messages.resource_name("models/tiny") == "models/tiny"


def test_a_model_is_read_whole(info: ModelInfo) -> None:
    assert (info.name, info.state, info.frame_size, info.fps) == ("tiny", "ready", SIZE, 10)
    np.testing.assert_array_equal(info.codebook, np.arange(32).reshape(8, 4))
    assert info.palette == tuple(range(8))


def test_frames_survive_the_journey() -> None:
    frames = make_frames(3, 20, 24)
    np.testing.assert_array_equal(messages.read_frames(messages.frames_message(frames)), frames)
    np.testing.assert_array_equal(messages.read_frames(messages.frames_message(frames[:, ::2])), frames[:, ::2])


def test_frames_that_disagree_with_their_payload_are_not_read() -> None:
    message = messages.frames_message(make_frames(3, 20, 24))
    message.count = 4
    with pytest.raises(ServerError, match="shape"):
        messages.read_frames(message)
    with pytest.raises(ServerError):
        messages.read_frames(frames_pb2.Frames(encoding=frames_pb2.FRAME_ENCODING_PNG))


def test_an_episode_is_sent_as_a_header_and_messages_of_about_half_a_mebibyte() -> None:
    frames = make_frames(400, 48, 64)
    header = messages.label_options(LabelArguments(model="tiny", fps=30, density="strided"))
    assert messages.header_request(header).header == header
    rest = list(messages.frame_requests([frames[:300], frames[300:]], SIZE))
    assert {request.WhichOneof("part") for request in rest} == {"frames"}
    sent = np.concatenate([messages.read_frames(request.frames) for request in rest])
    np.testing.assert_array_equal(sent, resize_frames(frames, *SIZE))
    largest = max(request.ByteSize() for request in rest)
    assert messages.MESSAGE_BYTES // 2 < largest < messages.MESSAGE_BYTES + 100


def test_frames_may_be_sent_as_they_are() -> None:
    frames = make_frames(2, 48, 64)
    (request,) = messages.frame_requests([frames], None)
    np.testing.assert_array_equal(messages.read_frames(request.frames), frames)


def test_frames_may_not_change_their_size_on_the_way() -> None:
    packer = messages.FramePacker(SIZE)
    list(packer.pack(make_frames(2, 48, 64)))
    with pytest.raises(RequestError, match="got 50 x 64 frames after"):
        list(packer.pack(make_frames(2, 50, 64)))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "fps"),
        ({"fps": 0.0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"fps": float("inf")}, "fps"),
        ({"step": 0}, "step"),
        ({"fps": 10.0, "density": "sparse"}, "density"),
    ],
)
def test_label_options_that_mean_nothing_are_refused(options: dict[str, object], field: str) -> None:
    with pytest.raises(RequestError) as refused:
        messages.label_options(LabelArguments(**options))  # type: ignore[arg-type]
    assert refused.value.field == field


def labels(start: int, count: int, latent_dim: int = 2) -> labelling_pb2.LabelEpisodeResponse:
    message = labelling_pb2.Labels(
        start_index=start,
        code=[1] * count,
        latent=np.ones((count, latent_dim), "<f4").tobytes(),
        confidence=[0.5] * count,
        valid=[True] * count,
    )
    return labelling_pb2.LabelEpisodeResponse(labels=message)


def summary(frames: int) -> labelling_pb2.LabelEpisodeResponse:
    return labelling_pb2.LabelEpisodeResponse(summary=labelling_pb2.LabelSummary(frames=frames, transitions=frames))


@pytest.fixture
def reader() -> messages.LabelReader:
    """A reader that has read the header."""
    header = labelling_pb2.LabelProvenance(
        model="models/tiny", step=2, model_fps=10, latent_dim=2, num_codes=8, precision="float32"
    )
    reader = messages.LabelReader()
    reader.begin(labelling_pb2.LabelEpisodeResponse(header=header))
    return reader


def test_a_models_alignments_are_read_with_it() -> None:
    good = models_pb2.Alignment(name="lift", alignment_id="a" * 64, action_dim=2, action_names=["x", "y"], step=3)
    bad = models_pb2.Alignment(name="old", problem="belongs to another bundle")
    message = models_pb2.Model(precision="float32", latent_dim=4, alignments=[good, bad])
    assert messages.model_info(message).alignments == (
        HostedAlignment("lift", "a" * 64, ("x", "y"), 3),
        HostedAlignment("old", "", (), 0, "belongs to another bundle"),
    )
    message.alignments[0].action_dim = 3
    with pytest.raises(ServerError, match="action names: got 2 from the server, expected 3"):
        messages.model_info(message)


def test_actions_are_read_where_an_alignment_has_decoded_them() -> None:
    alignment = models_pb2.Alignment(name="lift", alignment_id="a" * 64, action_dim=3, action_names="xyz", step=2)
    header = labelling_pb2.LabelProvenance(step=2, latent_dim=2, precision="float32", alignment=alignment)
    reader = messages.LabelReader()
    reader.begin(labelling_pb2.LabelEpisodeResponse(header=header))
    parts = []
    for start, count in ((0, 3), (3, 2)):
        response = labels(start, count)
        response.labels.action = np.arange(3 * count, dtype="<f4").tobytes()
        parts.append(reader.read(response))
    reader.read(summary(5))
    whole = reader.whole([part for part in parts if part is not None])
    assert whole.provenance.alignment == HostedAlignment("lift", "a" * 64, ("x", "y", "z"), 2)
    assert whole.action is not None
    np.testing.assert_array_equal(whole.action, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 1, 2], [3, 4, 5]])
    for missing in (b"", bytes(12), bytes(13)):
        response = labels(5, 2)
        response.labels.action = missing
        with pytest.raises(ServerError, match="do not fit together"):
            reader.read(response)


def test_an_alignment_is_asked_for_by_name() -> None:
    assert messages.label_options(LabelArguments(step=1, alignment="lift")).alignment == "lift"
    assert messages.label_options(LabelArguments(step=1)).alignment == ""


def test_labels_are_read_with_what_made_them(reader: messages.LabelReader) -> None:
    parts = [reader.read(labels(0, 3)), reader.read(labels(3, 2))]
    assert reader.read(summary(5)) is None
    whole = reader.whole([part for part in parts if part is not None])
    assert (len(whole), whole.latent.dtype, whole.code.tolist()) == (5, np.float32, [1] * 5)
    assert (whole.provenance.model, whole.provenance.step, whole.provenance.effective_fps) == ("tiny", 2, None)
    assert (whole.summary.frames, whole.summary.transitions) == (5, 5)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([labels(1, 2)], "got frame 1 next, expected 0"),
        ([labels(0, 2), labels(3, 2)], "got frame 3 next, expected 2"),
        ([labels(0, 2), summary(3)], "got 2, expected 3, the frames that it read"),
        ([labels(0, 2, latent_dim=3)], "do not fit"),
    ],
)
def test_a_server_is_held_to_the_contract(
    reader: messages.LabelReader, answers: list[labelling_pb2.LabelEpisodeResponse], words: str
) -> None:
    *good, bad = answers
    for answer in good:
        reader.read(answer)
    with pytest.raises(ServerError, match=words):
        reader.read(bad)


def test_a_stream_begins_with_its_header() -> None:
    with pytest.raises(ServerError, match="header"):
        messages.LabelReader().begin(summary(0))


def start(info: ModelInfo, prompt: np.ndarray, **arguments: Any) -> simulation_pb2.SimulationStart:
    return simulations.simulation_start(info, prompt, SimulationArguments(**arguments))


def test_a_prompt_is_one_picture_or_several_frames_at_the_models_size(info: ModelInfo) -> None:
    frames = make_frames(3, 48, 64)
    one, several = start(info, frames[0]), start(info, frames, temperature=0.5)
    assert (one.prompt.count, several.prompt.count) == (1, 3)
    np.testing.assert_array_equal(messages.read_frames(several.prompt), resize_frames(frames, *SIZE))
    assert not one.sampling.HasField("temperature")
    assert not one.sampling.HasField("maskgit_steps")
    none = start(info, frames, maskgit_steps=0, temperature=0.5)
    assert none.sampling.HasField("maskgit_steps")
    assert (none.sampling.maskgit_steps, several.sampling.temperature) == (0, 0.5)


def test_simulations_that_cannot_be_are_refused(info: ModelInfo) -> None:
    frame = make_frames(1, 32, 32)[0]
    refused = {
        "prompt": lambda: start(info, frame / 255),
        "seed": lambda: start(info, frame, seed=-1),
        "maskgit_steps": lambda: start(info, frame, maskgit_steps=-1),
        "actions": lambda: simulations.rollout_maker(frame, [], SimulationArguments())(info),
        "latents": lambda: simulations.chosen_actions([1], np.zeros((1, info.latent_dim))),
        "branches": lambda: simulations.branch_maker(frame, [], SimulationArguments()),
        "branches[1]": lambda: simulations.branch_maker(frame, [[0], [8]], SimulationArguments())(info),
        "action": lambda: simulations.check_action(-1, info),
    }
    for field, build in refused.items():
        with pytest.raises(RequestError) as error:
            build()
        assert error.value.field == field


def test_latents_go_as_the_contract_says_and_wrong_ones_are_refused(info: ModelInfo) -> None:
    frame, latent_TD = make_frames(1, 32, 32)[0], np.arange(2 * info.latent_dim, dtype=np.float64).reshape(2, -1)
    made = simulations.rollout_maker(frame, simulations.chosen_actions(None, latent_TD), SimulationArguments())(info)
    np.testing.assert_array_equal(np.frombuffer(made.actions.latents, "<f4").reshape(2, -1), latent_TD)
    assert simulations.action_request(info, latent_TD[1]).latent == latent_TD[1].astype("<f4").tobytes()
    for wrong in (latent_TD[0], latent_TD[:, 1:], np.full_like(latent_TD, np.inf)):
        with pytest.raises(RequestError, match="expected finite ones of"):
            simulations.rollout_maker(frame, wrong, SimulationArguments())(info)
    with pytest.raises(RequestError, match="got none, expected codes, latents or robot actions"):
        simulations.chosen_actions(None, None)


def test_simulated_frames_must_come_in_order_and_complete(info: ModelInfo) -> None:
    answer = simulation_pb2.BranchResponse(index=0, frames=messages.frames_message(make_frames(2, 32, 32)))
    reader = simulations.StepReader(info, 2)
    assert reader.read(answer).frames_NHWC.shape == (2, 32, 32, 3)
    with pytest.raises(ServerError, match="of step 0, expected 2 of step 1"):
        reader.read(answer)
    with pytest.raises(ServerError, match="sent 2 frames of step 0, expected 3"):
        simulations.StepReader(info, 3).read(answer)


def test_frames_that_another_bundle_drew_are_not_taken_for_this_ones(info: ModelInfo) -> None:
    frame = messages.frames_message(make_frames(1, 32, 32))
    own = simulation_pb2.RolloutResponse(index=0, frame=frame, bundle_id=info.bundle_id)
    other = simulation_pb2.RolloutResponse(index=0, frame=frame, bundle_id="f" * 64)
    assert simulations.StepReader(info).read(own).frames_NHWC.shape == (1, 32, 32, 3)
    with pytest.raises(simulations.ModelReplacedError, match="replaced"):
        simulations.StepReader(info).read(other)


@pytest.mark.parametrize(("count", "fits"), [(1, False), (2, True), (170, True), (171, False)])
def test_a_clip_is_what_fits_one_message_and_can_be_labelled(count: int, fits: bool) -> None:
    request = messages.clip_request(make_frames(count, 40, 48), SIZE, LabelArguments(fps=10))
    assert (request is not None) == fits
    if request is not None:
        assert messages.read_frames(request.frames).shape == (count, *SIZE, 3)
        assert len(request.frames.raw) <= messages.MESSAGE_BYTES


def test_a_rollout_request_carries_its_actions(info: ModelInfo) -> None:
    request = simulations.rollout_maker(make_frames(1, 32, 32), np.array([3, 3, 1]), SimulationArguments(seed=7))(info)
    assert isinstance(request, simulation_pb2.RolloutRequest)
    assert (list(request.actions.codes), request.start.sampling.seed, request.start.model) == (
        [3, 3, 1],
        7,
        "models/tiny",
    )


def test_what_computes_is_read_from_models_and_labels_alike() -> None:
    said = {"precision": "bfloat16", "processor": "NVIDIA H100 80GB HBM3", "torch_version": "2.12.1+cu130"}
    reader = messages.LabelReader()
    reader.begin(labelling_pb2.LabelEpisodeResponse(header=labelling_pb2.LabelProvenance(step=1, latent_dim=2, **said)))
    model = messages.model_info(models_pb2.Model(latent_dim=4, **said))
    assert reader.provenance.computation == model.computation == Computation.model_validate(said)


def test_a_server_that_says_nothing_of_its_processor_is_an_older_one() -> None:
    info = messages.model_info(models_pb2.Model(latent_dim=4, precision="float32"))
    assert info.computation == Computation()


def test_a_precision_that_the_client_does_not_know_is_the_servers_fault() -> None:
    with pytest.raises(ServerError, match="precision: Input should be 'float32' or 'bfloat16'"):
        messages.model_info(models_pb2.Model(latent_dim=4, precision="int4"))
