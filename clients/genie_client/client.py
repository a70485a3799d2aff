"""The synchronous client. Calls are defined in `flows`, messages in `messages`; `aio` is the asyncio version."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar, Unpack

import numpy as np
from google.protobuf.message import Message
from numpy.typing import ArrayLike

from genie_api.v1 import labelling_pb2, simulation_pb2
from genie_client import messages
from genie_client import simulation_messages as simulations
from genie_client.arguments import LabelArguments, Labelling, Simulating, SimulationArguments
from genie_client.clip_call import ClipCall
from genie_client.connection import Tls, open_channel, security_for
from genie_client.errors import Peer, ServerError, ServerUnavailableError
from genie_client.flows import Conversation, Flow, Stubs
from genie_client.health import answers_within
from genie_client.patience import CALL_PATIENCE_S, Patience, Tries
from genie_client.records import EpisodeLabels, ModelInfo, ServerStatistics, SimulatedFrame
from genie_client.simulation_messages import Actions, Latents
from genie_client.streams import Feed, Gate, LabelStream, PlayCall, PlaySession
from genie_core.closing import Closing
from genie_core.data import Frames

_T = TypeVar("_T")


class Client(Closing):
    """A connection to one Genie server; thread-safe. Closing it ends all calls in progress.

    Every method raises a `GenieError`: RequestError for a bad argument, ModelError for a model that cannot be used,
    and ServerUnavailableError, ServerBusyError, ServerTimeoutError or ServerError for failures of the server. A call
    that the server could not accept is retried if the server asks for it; one that has begun never is.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: Tls | bool | None = None,
        token: str | None = None,
        timeout_s: float = 30.0,
        wait_for_ready: bool = False,
        patience_s: float = CALL_PATIENCE_S,
        own_connection: bool = False,
        ended: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Connect to ``host:port``; the first call opens the connection.

        Args:
            address: address of the server.
            tls: True for an encrypted connection, or a `Tls` that says whom to trust; False for none; None: according
                to the environment (GENIE_CLIENT_TLS, _CA, _CERTIFICATE, _KEY) or the user's file.
            token: sent to the server with every call; "" for none; None: according to the environment
                (GENIE_CLIENT_TOKEN_FILE or GENIE_CLIENT_TOKEN) or the user's file.
            timeout_s: time limit of calls that need no computing (`model`, `models`), seconds.
            wait_for_ready: wait up to `timeout_s` for a server that is not available yet, instead of failing at once.
            patience_s: how long to keep trying to start a labelling stream that the server has no room for, seconds.
            own_connection: share no connection with other clients of this process: to the server it is a client by
                itself, and may come to another worker or replica.
            ended: returns the last output of a server started by this process once it has ended; see `embedded`.

        """
        security = security_for(address, tls, token)
        self._peer = Peer(address, ended=ended)
        self._patience = Patience(patience_s)
        self._wait = wait_for_ready
        self._channel = open_channel(address, security, own_connection)
        self._stubs = Stubs(self._channel)
        self._conversation = Conversation(timeout_s)

    def close(self) -> None:
        """End all calls in progress and close the connection."""
        self._channel.close()

    def answers_within(self, seconds: float) -> bool:
        """Wait until the server can be reached, `seconds` at most, and return whether it can."""
        return answers_within(self._channel, seconds)

    def models(self) -> list[ModelInfo]:
        """Return every model that the server hosts, ordered by name; `codebook` and `card` are empty."""
        return self._run(self._conversation.list_models())

    def model(self, name: str | None = None) -> ModelInfo:
        """Return everything about one model; None: the server's default model."""
        return self._run(self._conversation.get_model(name))

    def load_model(self, name: str, *, timeout_s: float | None = None) -> ModelInfo:
        """Load a model and warm it up; returns when it is ready. Loading a loaded model has no effect."""
        return self._run(self._conversation.load_model(name, timeout_s))

    def unload_model(self, name: str, *, timeout_s: float | None = None) -> ModelInfo:
        """Unload a model once requests in progress have finished."""
        return self._run(self._conversation.unload_model(name, timeout_s))

    def statistics(self) -> ServerStatistics:
        """Return statistics of the server's device, current and since the server started."""
        return self._run(self._conversation.statistics())

    def label(self, frames_THWC: Frames, **labelling: Unpack[Labelling]) -> EpisodeLabels:
        """Label one episode, one label per frame: ``client.label(frames, fps=30)``.

        Args:
            frames_THWC: (T, H, W, 3) uint8 RGB, any H and W.
            labelling: ``fps``, ``step``, ``model``, ``transport`` and others, see `Labelling`.

        """
        arguments = LabelArguments(**labelling)
        clip = self._patiently(
            arguments.patience_s, lambda: self._run(self._conversation.label_clip(frames_THWC, arguments))
        )
        if clip is not None:
            return clip
        with self.label_stream([frames_THWC], **labelling) as stream:
            return stream.read_all()

    def begin_clip(self, frames_THWC: Frames, **labelling: Unpack[Labelling]) -> ClipCall:
        """Send an episode in one message, frames as they are, and return the call; arguments as for `label`.

        What costs least for a short episode (`messages.CLIP_BYTES`) of many. Nothing is tried again: a server may take
        only smaller messages, and whether it has begun is not known before the labels are there.
        """
        arguments = LabelArguments(**labelling)
        request = messages.whole_clip_request(frames_THWC, arguments)
        call = self._stubs.labelling.LabelClip.future(request, timeout=arguments.timeout_s, wait_for_ready=self._wait)
        return ClipCall(call, self._peer, arguments.about)

    def label_stream(self, chunks: Iterable[Frames], **labelling: Unpack[Labelling]) -> LabelStream:
        """Label an episode of any length, read from `chunks` in a separate thread; arguments as for `label`.

        Returns once the server has accepted the episode. Labels arrive as they become final; neither side keeps frames.
        `patience_s`: how long to keep trying to start, seconds; None: the client's.
        """
        arguments = LabelArguments(**labelling)
        header = messages.header_request(messages.label_options(arguments))
        self._run(self._conversation.frame_size(arguments, None))  # before the call, which may take the last place
        stream = self._patiently(arguments.patience_s, lambda: self._begin_labelling(header, arguments))
        try:
            size = self._run(self._conversation.frame_size(arguments, stream.provenance.bundle_id))
            stream.feed(Feed(messages.frame_requests(chunks, size, arguments.transport)))
        except BaseException:
            stream.close()
            raise
        return stream

    def rollout(
        self,
        prompt: Frames,
        actions: Sequence[int] | None = None,
        *,
        latents: Latents | None = None,
        robot_actions: ArrayLike | None = None,
        **simulating: Unpack[Simulating],
    ) -> Frames:
        """Return the frames that `actions` would have produced from `prompt`: (T, h, w, 3) uint8, T = len(actions).

        Args:
            prompt: (H, W, 3) or (P, H, W, 3) uint8 RGB frames at the model's frame rate; P up to its context.
            actions: latent action codes, one per frame.
            latents: instead of them, latents as labels hold them, (T, D): they replay a motion more closely.
            robot_actions: instead of both, the robot's own actions, (T, A), with ``alignment=NAME``; each is what the
                robot does over one transition, as `HostedAlignment.reduce` and `step` say. `OutOfRangeWarning` where
                they leave the alignment's range; `rollout_steps` says where.
            simulating: ``seed``, ``temperature``, ``model`` and others, see `Simulating`.

        """
        frames = self.rollout_stream(prompt, actions, latents=latents, robot_actions=robot_actions, **simulating)
        return np.stack(list(frames))

    def rollout_stream(
        self,
        prompt: Frames,
        actions: Sequence[int] | None = None,
        *,
        latents: Latents | None = None,
        robot_actions: ArrayLike | None = None,
        **simulating: Unpack[Simulating],
    ) -> Iterator[Frames]:
        """Like `rollout`, but yields each (h, w, 3) frame as it is made."""
        steps = self.rollout_steps(prompt, actions, latents=latents, robot_actions=robot_actions, **simulating)
        for step in steps:
            yield step.frame_HWC

    def rollout_steps(
        self,
        prompt: Frames,
        actions: Sequence[int] | None = None,
        *,
        latents: Latents | None = None,
        robot_actions: ArrayLike | None = None,
        **simulating: Unpack[Simulating],
    ) -> Iterator[SimulatedFrame]:
        """Like `rollout_stream`, with what is known of each frame: range of its action, confidence, times."""
        arguments = SimulationArguments(**simulating)
        chosen = simulations.chosen_actions(actions, latents, robot_actions)
        make = simulations.rollout_maker(prompt, chosen, arguments)
        for step in self._simulate(self._stubs.simulation.Rollout, make, arguments):
            yield step.simulated

    def branch(
        self,
        prompt: Frames,
        branches: Sequence[Actions] | None = None,
        *,
        robot_actions: Sequence[ArrayLike] | None = None,
        **simulating: Unpack[Simulating],
    ) -> Frames:
        """Return what each of N action sequences of the same length T would have produced: (N, T, h, w, 3) uint8.

        The branches are computed together; each is the same as its own `rollout`. Arguments as for `rollout`.
        """
        frames = self.branch_stream(prompt, branches, robot_actions=robot_actions, **simulating)
        return np.stack(list(frames), axis=1)

    def branch_stream(
        self,
        prompt: Frames,
        branches: Sequence[Actions] | None = None,
        *,
        robot_actions: Sequence[ArrayLike] | None = None,
        **simulating: Unpack[Simulating],
    ) -> Iterator[Frames]:
        """Like `branch`, but yields each step's (N, h, w, 3) frames as they are made."""
        arguments = SimulationArguments(**simulating)
        chosen = simulations.chosen_branches(branches, robot_actions)
        make = simulations.branch_maker(prompt, chosen, arguments)
        for step in self._simulate(self._stubs.simulation.Branch, make, arguments, len(chosen)):
            yield step.frames_NHWC

    def play(self, prompt: Frames, **simulating: Unpack[Simulating]) -> PlaySession:
        """Start an interactive simulation: ``with client.play(prompt) as session: frame = session.step(3)``."""
        arguments = SimulationArguments(**simulating)
        make = simulations.play_maker(prompt, arguments)

        def begin() -> PlayCall:
            info, start = self._run(self._conversation.request_of(arguments.model, make, again=True))
            outbox: SimpleQueue[simulation_pb2.PlayRequest | None] = SimpleQueue()
            outbox.put(start)
            requests = iter(outbox.get, None)
            call = self._stubs.simulation.Play(requests, timeout=arguments.timeout_s, wait_for_ready=self._wait)
            return PlayCall(call, outbox, info)

        return PlaySession(begin, self._peer, arguments.alignment)

    def _run(self, flow: Flow[_T]) -> _T:
        """Make the calls of a flow and return its result."""
        answer: Any = None
        while True:
            try:
                ask = flow.send(answer)
            except StopIteration as done:
                result: _T = done.value
                return result
            with self._peer.explaining(ask.doing):
                answer = ask.method(self._stubs)(ask.request, timeout=ask.timeout_s, wait_for_ready=self._wait)

    def _patiently(self, patience_s: float | None, begin: Callable[[], _T]) -> _T:
        """Return the result of `begin`, retried for as long as the server has no room or is unavailable."""
        tries = Tries(self._patience if patience_s is None else Patience(patience_s))
        while True:
            try:
                return begin()
            except ServerError as error:
                wait_s = tries.wait_s(error)
                if wait_s is None:
                    raise
                until = time.monotonic() + wait_s
                if isinstance(error, ServerUnavailableError):
                    self.answers_within(wait_s)
            time.sleep(max(0.0, until - time.monotonic()))

    def _begin_labelling(self, header: labelling_pb2.LabelEpisodeRequest, arguments: LabelArguments) -> LabelStream:
        """Return a stream that the server has accepted, ready for its frames."""
        gate = Gate()
        call = self._stubs.labelling.LabelEpisode(
            gate.requests(header), timeout=arguments.timeout_s, wait_for_ready=self._wait
        )
        return LabelStream(call, gate, self._peer, arguments.about)

    def _simulate(
        self,
        method: Callable[..., Any],
        make: Callable[[ModelInfo], Message],
        arguments: SimulationArguments,
        branches: int = 1,
    ) -> Iterator[simulations.Step]:
        """Yield each step; the call is cancelled if the reader stops."""
        beginnings = simulations.Beginnings()
        while True:
            info, request = self._run(self._conversation.request_of(arguments.model, make, again=beginnings.again))
            reader = simulations.StepReader(info, branches, arguments.alignment)
            call = method(request, timeout=arguments.timeout_s, wait_for_ready=self._wait)
            try:
                with self._peer.explaining("simulating"):
                    for answer in call:
                        yield reader.read(answer)
                return
            except simulations.ModelReplacedError as error:  # raised before the first frame, or never
                beginnings.replaced(error)
            finally:
                call.cancel()


__all__ = ["Client"]
