"""Genie's gRPC server: hosts models from `genie_core` behind the contract of `genie_api`.

Three layers, each knowing only the one below: interceptors and servicers translate between messages and arrays, the
engine and the registry decide when and with what work runs, and genie_core does the work.
"""

from genie_service.settings import Settings, load_settings

__all__ = ["Settings", "load_settings"]
