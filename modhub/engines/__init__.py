"""Where networks are computed: ONNX Runtime to run them, torch to learn on them.

The modules are imported one by one, because each costs the start of a heavy library.
"""
