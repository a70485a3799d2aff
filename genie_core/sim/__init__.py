"""Simulated robot video with known actions, made with robosuite (extra `[sim]`). Importing this needs no simulator.

Makes training and test data; labelling and serving do not use it.
"""

from genie_core.sim.config import FPS, LookStyle, Robot, SimConfig, Task
from genie_core.sim.generate import generate

__all__ = ["FPS", "LookStyle", "Robot", "SimConfig", "Task", "generate"]
