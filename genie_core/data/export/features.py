"""Names of the LeRobot features that hold labels."""

from __future__ import annotations

DECODED_FEATURE = "latent_action.action"
"""LeRobot feature of the actions decoded by an alignment."""

REASON_FEATURE = "latent_action.reason"
"""The LeRobot feature that says why transitions were left out, where any were."""

FINE_FEATURE, WIDE_FEATURE = "latent_action.fine", "latent_action.feature"
"""Those of the second level's codes and of the wide vectors that latents are made of."""

VIEW_FIELDS = {"code": "int64", "latent": "float32", "confidence": "float32", "valid": "bool"}
"""What is exported of each camera's own labels where several were fused, and LeRobot's type of it."""


def view_feature(name: str, field: str) -> str:
    """Return the LeRobot feature of a field of one camera's labels; `name` is the camera's short one."""
    return f"latent_action.views.{name}.{field}"


__all__ = ["DECODED_FEATURE", "FINE_FEATURE", "REASON_FEATURE", "VIEW_FIELDS", "WIDE_FEATURE", "view_feature"]
