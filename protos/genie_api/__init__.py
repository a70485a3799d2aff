"""The gRPC contract of Genie, and the Python made from it (`make protos`)."""
