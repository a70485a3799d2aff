"""The science of Genie: robot video in, latent actions and simulated video out.

`models`, `training` and `inference` know torch; `data` and `bundles` do not; none knows gRPC.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("genie-latent")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
