"""The core of Genie: latent actions from robot video, and simulated video from latent actions.

`models`, `training` and `inference` import torch; `data` and `bundles` do not; none imports gRPC.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("genie-latent")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
