"""Genie's gRPC server: hosts models from `genie_core` behind the contract of `genie_api`.

Three layers, each of which knows only the one below: interceptors and servicers translate between messages and arrays,
the engine and the registry decide what runs when, and genie_core computes. `command.serve` starts it from the command
line, `server.GenieServer` from a program. Nothing is imported here, so that the command line stays fast.
"""
