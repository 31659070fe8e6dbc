"""How torch computes each ONNX operator: one family a file, `table.py` has them all."""
