"""Operators that a package's graph may use.

They are pure functions of their inputs whose cost follows from static shapes: no control flow, no randomness, no
strings, no files.
"""

from __future__ import annotations

ALLOWED = frozenset(
    """
    Abs Add And ArgMax AveragePool BatchNormalization BitwiseAnd Cast Ceil Celu Clip Concat Conv ConvTranspose
    DepthToSpace DequantizeLinear Div Elu Equal Erf Exp Expand Flatten Floor GRU Gather Gelu Gemm GlobalAveragePool
    GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LRN
    LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean Min Mish Mul Neg Not Or
    PRelu Pad Pow QuantizeLinear RNN Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    Relu Reshape Resize Round Selu Sigmoid Sign Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum
    Tanh Tile Transpose Unsqueeze Where
    """.split()
)
