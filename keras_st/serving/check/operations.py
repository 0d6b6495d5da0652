"""Which operations an exported graph may hold: what the exports of this library use, and their kin.

`SERVING` may stand anywhere. `SAVING` restores and saves the variables and `GRADIENTS` are of functions that an export
carries along; no signature may reach them. Nothing else is allowed; `DENIED` only says why of what is worst.
"""

import re

import tensorflow as tf


def _named(words):
    return frozenset(words.split())


SERVING = _named(
    """
    Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Assert Atan Atan2 Atanh AvgPool AvgPool3D
    BatchMatMulV2 BatchMatMulV3 BatchToSpace BatchToSpaceND BiasAdd Bitcast BroadcastArgs BroadcastTo Case Cast Ceil
    CheckNumerics ClipByValue Concat ConcatV2 Const Conv Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 Cos
    Cosh Cross CropAndResize Cumprod Cumsum DecodeAndCropJpeg DecodeImage DecodeJpeg DecodePng DepthToSpace
    DepthwiseConv2dNative DivNoNan Einsum Elu EmptyTensorList EnsureShape Equal Erf Erfc Exp ExpandDims Expm1
    ExtractImagePatches ExtractVolumePatches Fill Floor FloorDiv FloorMod FusedBatchNormV3 Gather GatherNd GatherV2
    Greater GreaterEqual Identity IdentityN If InTopKV2 InvertPermutation IsFinite IsInf IsNan L2Loss LeakyRelu Less
    LessEqual LinSpace Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul MatrixBandPart MatrixDiag
    MatrixDiagV3 Max MaxPool MaxPool3D MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan Neg
    NextAfter NoOp NotEqual OneHot OnesLike Pack Pad PadV2 PartitionedCall Placeholder PlaceholderWithDefault Pow
    PreventGradient Prod Range Rank ReadVariableOp RealDiv Reciprocal Relu Relu6 Reshape ResizeArea ResizeBicubic
    ResizeBilinear ResizeNearestNeighbor ResourceGather ReverseSequence ReverseV2 Rint Roll Round Rsqrt ScatterNd
    SegmentMax SegmentMean SegmentSum Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Softmax
    Softplus Softsign SpaceToBatch SpaceToBatchND SpaceToDepth SparseToDense Split SplitV Sqrt Square
    SquaredDifference Squeeze StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile StopGradient
    StridedSlice Sub Sum Tan Tanh TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
    TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize
    TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack TensorScatterAdd TensorScatterUpdate Tile
    TopKV2 Transpose TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentSum Unpack VarHandleOp VariableShape
    Where While Xdivy Xlogy ZerosLike
    """
)
SAVING = _named(
    """
    AssignVariableOp DisableCopyOnRead MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename StaticRegexFullMatch
    StringJoin VarIsInitializedOp
    """
)
WRITING = _named("MergeV2Checkpoints SaveV2")  # of `SAVING`: nothing that runs while an export is loaded
GRADIENTS = _named(
    """
    AvgPool3DGrad AvgPoolGrad BiasAddGrad BroadcastGradientArgs ConcatOffset Conv2DBackpropFilter
    Conv3DBackpropFilterV2 DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput EluGrad
    FusedBatchNormGradV3 LeakyReluGrad MaxPool3DGrad MaxPoolGrad MirrorPadGrad ReciprocalGrad Relu6Grad ReluGrad
    ResizeBilinearGrad RsqrtGrad SeluGrad SigmoidGrad SoftplusGrad SoftsignGrad SqrtGrad StridedSliceGrad TanhGrad
    """
)
DENIED = {  # pattern -> what such an operation does; the first that is found counts
    ">": "is of a custom library",
    "^(Eager)?Py|^PyFunc": "runs Python",
    "Random|Multinomial|Uniform|Normal|Gamma|Poisson|Rng|Shuffle|RngBit": "draws at random",
    "Dataset|Iterator|Queue|Reader": "reads a data set",
    "File|TextLine|TFRecord|Summary|Print|LMDB": "reads or writes files or the console",
    "HashTable|LookupTable|MutableDense|Stack[A-Z]|TensorArray|Barrier|StagingArea": "keeps a state of its own",
    "Assign|Scatter(?!Nd)": "changes variables",
}


def reason_against(op, served):
    """Why a graph may not hold an operation, None where it may.

    Args:
        op: name of the operation.
        served: whether a signature reaches it.
    """
    if op in SERVING or (op in SAVING | GRADIENTS and not served):
        return None
    if op in SAVING:
        return "saves, restores or changes variables, and a signature runs it"
    for pattern, what in DENIED.items():
        if re.search(pattern, op):
            return what
    return "is none that exports of this library use" if hasattr(tf.raw_ops, op) else "is unknown to TensorFlow"
