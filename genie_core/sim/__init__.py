"""Simulated robot video with known actions, from robosuite (extra `[sim]`). Importing this needs no simulator.

For making training and test data; nothing that labels or serves uses it.
"""

from genie_core.sim.config import FPS, LookStyle, Robot, SimConfig, Task
from genie_core.sim.generate import generate

__all__ = ["FPS", "LookStyle", "Robot", "SimConfig", "Task", "generate"]
