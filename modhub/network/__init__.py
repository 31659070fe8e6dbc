"""Networks as values: ONNX graphs in normal form, their sites, and class modules cut out of them."""
