"""Version 1 of the contract: `labelling_pb2`, `simulation_pb2`, `models_pb2`, `frames_pb2` and their `_grpc` halves."""
