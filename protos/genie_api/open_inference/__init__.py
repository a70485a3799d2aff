"""The part of the Open Inference Protocol that Genie speaks: `inference_pb2` and its `_grpc` half."""
