"""State of both clients' streaming calls, and the reading of their responses, without I/O."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from genie_api.v1 import labelling_pb2, simulation_pb2
from genie_client import messages
from genie_client import simulation_messages as simulations
from genie_client.errors import ServerError
from genie_client.records import LabelProvenance, LabelSummary, ModelInfo, SimulatedFrame, Timing
from genie_core.data import Frames, Labels
from genie_core.errors import ModelError, RequestError


class LabelStreamState:
    """State shared by the label streams of both clients; does no I/O.

    Attributes:
        provenance: provenance of the labels, known from the start.
        summary: totals, known once the stream has ended.

    """

    provenance: LabelProvenance
    summary: LabelSummary

    def __init__(self, about: str) -> None:
        self._doing = f"labelling {about}"
        self._reader = messages.LabelReader()
        self._ended = False

    def _accepted(self, response: object) -> None:
        """Read the first response."""
        self.provenance = self._reader.begin(self._checked(response))

    def _labels(self, response: object) -> Labels | None:
        """Return the labels of another response; None at the end."""
        labels = self._reader.read(self._checked(response))
        if labels is None:
            self.summary = self._reader.summary
            self._ended = True
        return labels

    def _checked(self, response: object) -> labelling_pb2.LabelEpisodeResponse:
        if not isinstance(response, labelling_pb2.LabelEpisodeResponse):
            raise ServerError(f"the server ended the call early while {self._doing}")
        return response


class PlayState:
    """State shared by the interactive sessions of both clients; does no I/O.

    Attributes:
        timing: the server's times for the newest frame.
        newest: the newest frame with what is known of it; None before the first.

    """

    def __init__(self, info: ModelInfo, alignment: str | None = None) -> None:
        self._info = info
        self._alignment = alignment
        self._reader = simulations.StepReader(info, alignment=alignment)
        self._beginnings = simulations.Beginnings()
        self._unanswered: list[int | simulations.Latents | simulations.RobotActions] = []
        self.timing = Timing()
        self.newest: SimulatedFrame | None = None

    def check_model(self, info: ModelInfo, instead: str) -> None:
        """Raise ModelError, which says what to do `instead`, if another bundle than that of `info` draws.

        Which it is, is sure from the first frame on. For callers that hold what they know of the model for longer than
        a session: frames of two bundles are not to be mixed.
        """
        if self._info.bundle_id != info.bundle_id:
            got, expected = self._info.bundle_id[:12], info.bundle_id[:12]
            raise ModelError(
                f"{info.name}: got frames of bundle {got}, expected {expected}: the server has replaced the model; "
                f"{instead}"
            )

    def do_not_warn(self) -> None:
        """Do not warn of robot actions beyond the alignment's range; `newest` reports them."""
        self._reader.warns = False

    def _request(
        self, code: int | simulations.Latents | None, robot_action: ArrayLike | None
    ) -> simulation_pb2.PlayRequest:
        """Return the request of one action, whichever is given. Raises RequestError unless it is one."""
        if (code is None) == (robot_action is None):
            raise RequestError("action", "expected either a code or latent, or a robot_action")
        action: int | simulations.Latents | simulations.RobotActions
        if robot_action is not None:
            action = simulations.RobotActions.of(robot_action, dimensions=1)
        else:
            assert code is not None
            action = code.copy() if isinstance(code, np.ndarray) else code
        request = simulations.action_request(self._info, action)
        if self.newest is None:
            self._unanswered.append(action)
        return request

    def _again(self, info: ModelInfo) -> list[simulation_pb2.PlayRequest]:
        """Return the requests of all actions so far, none of which was answered, for the model that came instead."""
        warns, self._reader = self._reader.warns, simulations.StepReader(info, alignment=self._alignment)
        self._info, self._reader.warns = info, warns
        return [simulations.action_request(info, action) for action in self._unanswered]

    def _frame(self, answer: object) -> Frames:
        """Return the (h, w, 3) uint8 frame of an answer."""
        if not isinstance(answer, simulation_pb2.PlayResponse):
            raise ServerError("the server ended the session")
        self.newest = self._reader.read(answer).simulated
        self._unanswered.clear()
        self.timing = self.newest.timing
        return self.newest.frame_HWC


__all__ = ["LabelStreamState", "PlayState"]
