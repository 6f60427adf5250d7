"""Tidegate: a model server. This package carries the program `tidegate`, and finds ONNX Runtime for it."""
