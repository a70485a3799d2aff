"""Optical flow from depth, bodies and poses, against projecting the same points by hand."""

from dataclasses import replace

import numpy as np
import pytest

from genie_core.sim.geometry import look_at, project, rotation_z
from genie_core.sim.truth import NOTHING, View, flow_between

FOVY, SIZE, OFFSET = 42.0, 16, 0.75
CAMERA, TARGET = np.array([0.7, 0.5, 1.4]), np.array([0.0, 0.0, 0.9])


@pytest.fixture
def view():
    rng = np.random.default_rng(0)
    return View(
        depth=rng.uniform(0.5, 1.5, (SIZE, SIZE)).astype(np.float32),
        geoms=rng.integers(0, 2, (SIZE, SIZE)).astype(np.int32),
        positions=np.array([[0.0, 0.0, 0.8], [0.1, 0.0, 0.9]]),
        rotations=np.stack([np.eye(3), rotation_z(0.3)]),
        camera=CAMERA,
        orientation=look_at(CAMERA, TARGET),
    )


def point(view, row, column):
    """The world's point that a pixel's sample shows."""
    focal = 0.5 * SIZE / np.tan(np.deg2rad(FOVY) / 2)
    depth = float(view.depth[row, column])
    x, y = column + OFFSET - SIZE / 2, SIZE / 2 - row - OFFSET
    return view.camera + view.orientation @ np.array([x * depth / focal, y * depth / focal, -depth])


def test_what_stands_still_has_no_flow(view):
    assert np.abs(flow_between(view, view, FOVY, OFFSET)).max() < 1e-5


def test_a_body_that_moves_and_turns_carries_its_pixels(view):
    turn = rotation_z(0.4)
    moved = view.positions[1] + np.array([0.02, -0.03, 0.01])
    after = replace(
        view,
        positions=np.stack([view.positions[0], moved]),
        rotations=np.stack([view.rotations[0], turn @ view.rotations[1]]),
    )
    flow = flow_between(view, after, FOVY, OFFSET)
    assert np.abs(flow[view.geoms == 0]).max() < 1e-5
    for row, column in np.argwhere(view.geoms == 1)[:10]:
        there = turn @ (point(view, row, column) - view.positions[1]) + moved
        expected = project(there, CAMERA, view.orientation, FOVY, SIZE) - [column + OFFSET, row + OFFSET]
        np.testing.assert_allclose(flow[row, column], expected, atol=1e-4)


def test_a_moving_camera_moves_all_the_background_included(view):
    empty = replace(view, geoms=np.full((SIZE, SIZE), NOTHING, np.int32))
    camera = CAMERA + np.array([0.05, 0.0, 0.02])
    after = replace(empty, camera=camera, orientation=look_at(camera, TARGET))
    flow = flow_between(empty, after, FOVY, OFFSET)
    for row, column in ((0, 0), (7, 3), (15, 15)):
        expected = project(point(empty, row, column), camera, after.orientation, FOVY, SIZE)
        np.testing.assert_allclose(flow[row, column], expected - [column + OFFSET, row + OFFSET], atol=1e-4)
