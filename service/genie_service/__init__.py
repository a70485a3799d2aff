"""Genie's gRPC server: hosts models from `genie_core` behind the contract of `genie_api`.

Three layers, each knowing only the one below: interceptors and servicers translate between messages and arrays, the
engine and the registry decide when and with what work runs, and genie_core does the work. `command.serve` starts it
from the command line, `server.GenieServer` from a program. Nothing is imported here: the command line stays quick.
"""
