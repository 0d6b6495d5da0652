"""The one list of cells, layers and models that every conformance test runs over, at toy size.

`make()` builds a fresh object; `shape` is the shape of its input (a dict for models, a list for several), batch 2.
"""

from dataclasses import dataclass

import keras
import numpy as np

from keras_st import layers
from keras_st.flow import TVL1Flow
from keras_st.models import FrameMapper, TrackForecaster, clip_classifier, encoder_forecaster, forecast_classifier
from keras_st.models.backbones import LocalResponseNorm

B, T, H, W, C = 2, 4, 6, 8, 2


@dataclass(frozen=True)
class Case:
    name: str
    make: object
    shape: object
    params: int  # closed form, written out
    states: bool = True  # is run with return_state, and every state must change over two steps
    causal: bool = True  # no output of a step depends on a later step
    known: tuple = ()  # "time", "space": sizes that must be known when it is built
    fit: object = staticmethod(lambda x: x)  # makes of random numbers what the layer takes

    def inputs(self, seed=0):
        rng = np.random.default_rng(seed)
        return self.fit(over(self.shape, lambda shape: rng.random(shape).astype("float32")))


def over(shape, f):
    """`f` of the shape, or of every shape of a list or dict."""
    if isinstance(shape, dict):
        return {name: f(s) for name, s in shape.items()}
    return [f(s) for s in shape] if isinstance(shape, list) else f(shape)


def rnn(cell, **kwargs):
    return layers.SpatialRNN(cell, return_sequences=True, **kwargs)


def conv_lstm(f=3, rank=2, k=3, **kwargs):
    return layers.ConvLSTMCell(rank, f, k, padding="same", **kwargs)


def deformable(**kwargs):
    return layers.DeformableConvLSTMCell(2, 3, 3, **kwargs)


def conv_gru(f=3, rank=2, k=3, **kwargs):
    return layers.ConvGRUCell(rank, f, k, padding="same", **kwargs)


def st_lstm(f=3, k=3, **kwargs):
    return layers.STLSTMCell(2, f, k, **kwargs)


def e3d(f=3, **kwargs):
    return layers.E3DLSTMCell(f, (2, 3, 3), recall_steps=3, **kwargs)


def windows(conv3d="inside", stride=1, **kwargs):
    cells = [e3d(**kwargs), e3d(**kwargs)] if conv3d == "inside" else [st_lstm(**kwargs), st_lstm(**kwargs)]
    return layers.SlidingWindowStack(cells, 2, stride, conv3d, conv_kernel_size=3)


def windowed(conv3d="inside", **kwargs):
    return encoder_forecaster(
        windows(conv3d, **kwargs), horizon_frames=3, patch=2, readout="last", predict_context=True
    )


def forecaster(**kwargs):
    return encoder_forecaster([conv_lstm(), conv_lstm(4)], horizon_frames=3, patch=2, **kwargs)


def on_the_sphere(x):
    """Random densities, and the places of their pixels on a grid of two degrees."""
    video = x["video"]
    lat, lon = (2.0 * np.arange(n) for n in video.shape[2:4])
    video[..., 1], video[..., 2] = (lat[:, None] + 90) / 180, (lon - 60 + 540) / 1080
    return {"video": video}


def looking_back(*args, **kwargs):
    stack = layers.AttentionStack([conv_lstm(), conv_lstm(4)], *args, **kwargs)
    return encoder_forecaster(stack, horizon_frames=3, patch=2, forecaster="unconditioned")


def lstm(kx, cin, f, kh=None):
    return 4 * f * (kx * cin + (kh or kx) * f + 1)


def offsets(channels, outputs):
    return 9 * channels * outputs + outputs


def gru(k, cin, f):
    return 3 * f * (k * cin + k * f + 1)


def st(k, cin, f):
    return k * f * (7 * cin + 4 * f + 3 * f + 2 * f) + 2 * f * f


def e3d_count(cin, f=3, k=18):
    return k * f * (7 * cin + 9 * f) + 2 * f * f + 10 * f


def p3d(kind, **options):
    return layers.P3DBlock(3, kind, kernel_initializer="glorot_uniform", **options)


def p3d_count(cin, f=3):
    return cin * f + 9 * f * f + 3 * f * f + 4 * f * f + 4 * f * cin + 4 * (3 * f + 2 * 4 * f)


def bahdanau(query, key, units):
    return units * (query + key) + units + units + 1


def attending(cell, *args, init_state="zeros", **kwargs):
    return rnn(cell(*args, init_state=init_state, **kwargs))


def frames(*more):
    conv = keras.layers.Conv2D(3, 3, padding="same", activation="relu")
    return layers.FrameWise(keras.Sequential([conv, *more]))


def vectors():
    return frames(keras.layers.GlobalAveragePooling2D())


def levels():
    x = keras.Input((None, None, C))
    maps = keras.layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    return layers.FrameWise(keras.Model(x, [maps, keras.layers.GlobalAveragePooling2D()(maps)]))


def dense(units=4):
    return keras.layers.Dense(units, "relu", bias_initializer="ones")


def pooling(*parts, **kwargs):
    return clip_classifier(frames(), 5, aggregator=keras.Sequential(parts), **kwargs)


def step_head():
    parts = [keras.layers.Flatten(), keras.layers.Dense(4, "tanh"), keras.layers.Dense(5)]
    return layers.FrameWise(keras.Sequential(parts))


def classifier():
    backbone = keras.Sequential([p3d("C"), keras.layers.GlobalAveragePooling3D()])
    return clip_classifier(backbone, 5, preprocessing=layers.FramePreprocessing())


CLIP = (B, T, H, W, C)
FLOW = (B, T, H, W, 1)
CONV = 9 * C * 3 + 3
ENCODER = lstm(9, 8, 3) + lstm(9, 3, 4)
HEAD = 7 * 8 + 8
CASES = [
    Case("ConvLSTM1D", lambda: rnn(conv_lstm(rank=1)), (B, T, W, C), lstm(3, C, 3)),
    Case("ConvLSTM2D", lambda: rnn(conv_lstm()), CLIP, lstm(9, C, 3)),
    Case("ConvLSTM3D", lambda: rnn(conv_lstm(rank=3)), (B, T, 4, H, W, C), lstm(27, C, 3)),
    Case("ConvLSTM2D-layer", lambda: layers.ConvLSTM2D(3, 3, return_sequences=True), CLIP, lstm(9, C, 3)),
    Case("ConvLSTM2D-channel", lambda: rnn(conv_lstm(peephole="channel")), CLIP, lstm(9, C, 3) + 9),
    Case(
        "ConvLSTM2D-full",
        lambda: rnn(conv_lstm(peephole="full")),
        CLIP,
        lstm(9, C, 3) + 9 * H * W,
        known=("space",),
    ),
    Case(
        "ConvLSTM2D-kernels",
        lambda: rnn(conv_lstm(k=5, recurrent_kernel_size=3, recurrent_dilation_rate=2)),
        CLIP,
        lstm(25, C, 3, 9),
    ),
    Case("CellStack", lambda: rnn(layers.CellStack([conv_lstm(), conv_lstm(4)])), CLIP, lstm(9, C, 3) + lstm(9, 3, 4)),
    Case("ConvLSTM2D-norm", lambda: rnn(conv_lstm(norm=True)), CLIP, lstm(9, C, 3) + 2 * 2 * 12),
    Case(
        "ConvLSTM2D-pooled",
        lambda: rnn(conv_lstm(gate_mode="pooled")),
        CLIP,
        9 * 3 * (C + 3) + 12 + 3 * 3 * (C + 3),
    ),
    Case(
        "AttentionConvLSTM2D",
        lambda: layers.AttentionConvLSTM2D(3, 3, attention_units=5, return_sequences=True),
        CLIP,
        lstm(9, C, 3) + 9 * 5 * (C + 3) + 5 + 5,
    ),
    Case(
        "SelfAttentionConvLSTM",
        lambda: rnn(layers.SelfAttentionConvLSTMCell(2, 3, 3, padding="same", attention_units=2)),
        CLIP,
        lstm(9, C, 3) + 5 * 3 * 2 + 4 * 3 + 9 * 6 * 9 + 9,
    ),
    Case(
        "SelfAttentionConvLSTM-separable",
        lambda: rnn(layers.SelfAttentionConvLSTMCell(2, 3, 3, padding="same", attention_units=2, separable=True)),
        CLIP,
        lstm(9, C, 3) + 5 * 3 * 2 + 4 * 3 + 9 * 6 + 6 * 9 + 9,
    ),
    Case(
        "DeformableConv2D",
        lambda: layers.FrameWise(layers.DeformableConv2D(3, 3, groups=2)),
        CLIP,
        9 * C * 3 + 3 + 9 * C * 54 + 54,
        states=False,
    ),
    Case(
        "ConvLSTM2D-deform-input",
        lambda: layers.ConvLSTM2D(3, 3, deform="input", return_sequences=True),
        CLIP,
        lstm(9, C, 3) + offsets(C + 3, 27),
    ),
    Case("ConvLSTM2D-deform-state", lambda: rnn(deformable(deform="state")), CLIP, lstm(9, C, 3) + offsets(C + 3, 27)),
    Case(
        "ConvLSTM2D-deform-both-v1",
        lambda: rnn(deformable(deform="both", deform_modulation=None)),
        CLIP,
        lstm(9, C, 3) + 2 * offsets(C + 3, 18),
    ),
    Case(
        "ConvLSTM2D-deform-aligned",
        lambda: rnn(deformable(deform="aligned")),
        CLIP,
        lstm(9, C, 3) + 2 * 9 * 9 + 2 * offsets(C + 3, 27),
    ),
    Case(
        "TemporalAttention", lambda: layers.TemporalAttention("additive", units=5), CLIP, 5 * (2 * C + 1), states=False
    ),
    Case("PeepholeLSTM", lambda: rnn(layers.PeepholeLSTMCell(3)), (B, T, C), lstm(1, C, 3) + 9),
    Case("ConvGRU1D", lambda: rnn(conv_gru(rank=1)), (B, T, W, C), gru(3, C, 3)),
    Case("ConvGRU2D", lambda: rnn(conv_gru()), CLIP, gru(9, C, 3)),
    Case("ConvGRU3D", lambda: rnn(conv_gru(rank=3)), (B, T, 4, H, W, C), gru(27, C, 3)),
    Case("ConvGRU2D-layer", lambda: layers.ConvGRU2D(3, 3, return_sequences=True), CLIP, gru(9, C, 3)),
    Case("ConvGRU2D-after", lambda: rnn(conv_gru(reset_after=True, update_gate="old")), CLIP, gru(9, C, 3)),
    Case("ConvGRU2D-lower", lambda: rnn(conv_gru(lower_filters=1)), CLIP, gru(9, C - 1, 3) + 9 * 2 * 3),
    Case("STLSTM", lambda: rnn(st_lstm()), CLIP, st(9, C, 3)),
    Case("STLSTM-norm", lambda: rnn(st_lstm(norm=True)), CLIP, st(9, C, 3) + 2 * 15 * 3),
    Case("ZigZagStack", lambda: rnn(layers.ZigZagStack([st_lstm(), st_lstm()])), CLIP, st(9, C, 3) + st(9, 3, 3)),
    Case(
        "ClockStack",
        lambda: rnn(layers.ClockStack([conv_lstm(), conv_lstm(4)], periods=(1, 1))),
        CLIP,
        lstm(9, C, 3) + lstm(9, 3, 4),
    ),
    Case(
        "ChunkedRNN",
        lambda: layers.ChunkedRNN(conv_lstm(), conv_lstm(4), chunk_frames=2),
        CLIP,
        lstm(9, C, 3) + lstm(9, 3, 4),
        states=False,
    ),
    Case(
        "forecaster-clock",
        lambda: encoder_forecaster(
            layers.ClockStack([conv_lstm(), conv_lstm(4)], periods=(1, 2)), horizon_frames=3, patch=2
        ),
        {"video": CLIP},
        ENCODER + HEAD,
        states=False,
    ),
    Case("FrameWise", lambda: layers.FrameWise(keras.layers.Dense(5)), CLIP, C * 5 + 5, states=False),
    Case("forecaster-shared", lambda: forecaster(predict_context=True), {"video": CLIP}, ENCODER + HEAD, states=False),
    Case(
        "forecaster-conditioned",
        lambda: forecaster(forecaster="conditioned"),
        {"video": CLIP},
        2 * ENCODER + HEAD,
        states=False,
    ),
    Case(
        "forecaster-unconditioned",
        lambda: forecaster(forecaster="unconditioned"),
        {"video": CLIP},
        2 * ENCODER - 9 * 8 * 12 + HEAD,
        states=False,
    ),
    Case(
        "forecaster-attention-output",
        lambda: looking_back(score="bilinear"),
        {"video": CLIP},
        2 * ENCODER - 9 * 8 * 12 + 4 * 4 + 2 * 4 * 4 + HEAD,
        states=False,
    ),
    Case(
        "forecaster-attention-input",
        lambda: looking_back("input", score="additive", units=5),
        {"video": CLIP},
        2 * ENCODER - 9 * 8 * 12 + 9 * 4 * 12 + 5 * (2 * 4 + 1) + HEAD,
        states=False,
    ),
    Case(
        "forecaster-decoupling",
        lambda: encoder_forecaster(
            layers.ZigZagStack([st_lstm(), st_lstm()], decoupling=True), horizon_frames=3, patch=2, readout="last"
        ),
        {"video": CLIP},
        st(9, 8, 3) + st(9, 3, 3) + 3 * 3 + 3 * 8 + 8,
        states=False,
    ),
    Case(
        "forecaster-zigzag",
        lambda: encoder_forecaster(
            layers.ZigZagStack([st_lstm(), st_lstm()]), horizon_frames=3, patch=2, readout="last", predict_context=True
        ),
        {"video": CLIP},
        st(9, 8, 3) + st(9, 3, 3) + 3 * 8 + 8,
        states=False,
    ),
    Case(
        "frame-mapper",
        lambda: FrameMapper([conv_lstm()], filters=(5,), patch=2),
        {"video": CLIP},
        9 * 4 * C * 5 + 5 + lstm(9, 5, 3) + 4 * 3 + 4,
        states=False,
    ),
    Case(
        "track-forecaster",
        lambda: TrackForecaster(forecaster(forecaster="unconditioned", activation="linear")),
        {"video": (B, T, H, W, 3)},
        lstm(9, 24, 3) + lstm(9, 3, 4) + lstm(9, 0, 3) + lstm(9, 3, 4) + 7 * 24 + 24 + 6 * 2 + 2,
        states=False,
        fit=on_the_sphere,
    ),
    Case("E3DLSTM", lambda: rnn(e3d()), (B, T, 2, H, W, C), e3d_count(C)),
    Case(
        "E3DLSTM-released",
        lambda: rnn(e3d(variant="released", update_memory=True)),
        (B, T, 2, H, W, C),
        18 * 3 * (7 * C + 10 * 3) + 2 * 9 + 50 * 3,
    ),
    Case("E3DLSTM-eidetic", lambda: rnn(e3d(eidetic_memory=True)), (B, T, 2, H, W, C), e3d_count(C) + 2 * 3),
    Case(
        "E3DLSTM-no-recall",
        lambda: rnn(layers.E3DLSTMCell(3, (2, 3, 3), recall_steps=0)),
        (B, T, 2, H, W, C),
        18 * 3 * (6 * C + 8 * 3) + 2 * 9 + 9 * 3,
    ),
    Case("SlidingWindow", lambda: rnn(windows()), CLIP, e3d_count(C) + e3d_count(3)),
    Case(
        "forecaster-e3d",
        windowed,
        {"video": CLIP},
        e3d_count(8) + e3d_count(3) + 2 * 3 * 8 + 8,
        states=False,
    ),
    Case(
        "forecaster-e3d-stride",
        lambda: windowed(stride=2),
        {"video": CLIP},
        e3d_count(8) + e3d_count(3) + 2 * 3 * 8 + 8,
        states=False,
    ),
    Case(
        "forecaster-e3d-bottom",
        lambda: windowed("bottom"),
        {"video": CLIP},
        9 * 16 * 3 + 3 + 2 * st(9, 3, 3) + 3 * 8 + 8,
        states=False,
    ),
    Case(
        "forecaster-e3d-top",
        lambda: windowed("top"),
        {"video": CLIP},
        st(9, 8, 3) + st(9, 3, 3) + 9 * 6 * 3 + 3 + 3 * 8 + 8,
        states=False,
    ),
    Case(
        "forecast-classifier",
        lambda: forecast_classifier(windows(), 5, horizon_frames=3, patch=2, readout="last"),
        {"video": CLIP},
        e3d_count(8) + e3d_count(3) + 2 * 3 * 8 + 8 + 2 * 3 + 3 * 5 + 5,
        states=False,
    ),
    Case("P3DBlock-A", lambda: p3d("A", strides=2), CLIP, p3d_count(C), states=False),
    Case("P3DBlock-B", lambda: p3d("B"), CLIP, p3d_count(C), states=False),
    Case("P3DBlock-C", lambda: p3d("C", merge="paper"), CLIP, p3d_count(C), states=False),
    Case("P3DBlock-2D", lambda: p3d(None), CLIP, p3d_count(C) - 27 - 12, states=False),
    Case(
        "P3DBlock-basic",
        lambda: p3d("C", bottleneck=False),
        CLIP,
        9 * 3 * C + 9 * 9 + 2 * 27 + 3 * C + 5 * 12,
        states=False,
    ),
    Case("FrameMaxPool", lambda: layers.FrameMaxPool(3), CLIP, 0, states=False),
    Case("PairMaxPool", lambda: layers.PairMaxPool(), CLIP, 0, states=False),
    Case("AttentionPooling", lambda: layers.AttentionPooling(5), CLIP, 5 * C + 5 + 5, states=False),
    Case("ScoreAverage", lambda: layers.ScoreAverage(), (B, T, 3), 0, states=False),
    Case(
        "TVL1Flow",
        lambda: TVL1Flow((0, 10), levels=2, warps=1, iterations=2),  # faint: the flow of strong noise is chaotic
        (B, T, H, W, 3),
        0,
        states=False,
    ),
    Case("FramePreprocessing", lambda: layers.FramePreprocessing(), CLIP, 0, states=False),
    Case("FlowStack", lambda: layers.FlowStack(2), CLIP, 0, states=False),
    Case(
        "clip-classifier",
        classifier,
        {"video": CLIP},
        p3d_count(C) + 12 * 5 + 5,
        states=False,
    ),
    # Recognition
    Case(
        "ALSTM",
        lambda: attending(layers.ALSTMCell, 3, num_layers=2, attention_units=5),
        CLIP,
        bahdanau(3, C, 5) + lstm(1, C, 3) + lstm(1, 3, 3),
    ),
    Case(
        "ALSTM-location",
        lambda: attending(layers.ALSTMCell, 3, 1, "location", init_state="mean"),
        CLIP,
        3 * H * W + lstm(1, C, 3) + 6 * C + 6,
        causal=False,
        known=("space",),
    ),
    Case("ConvALSTM", lambda: attending(layers.ConvALSTMCell, 3, 3), CLIP, bahdanau(3, C, 3) + lstm(9, C, 3)),
    Case(
        "ConvALSTM-sigmoid",
        lambda: attending(layers.ConvALSTMCell, 3, 3, "sigmoid", init_state="mean"),
        CLIP,
        bahdanau(3, C, 3) + lstm(9, C, 3) + 9 * C * 6 + 6,
        causal=False,
    ),
    Case(
        "MotionConvALSTM",
        lambda: attending(layers.MotionConvALSTMCell, 3, 3, 1, attention_units=5),
        [CLIP, FLOW],
        bahdanau(3, C, 5) + lstm(9, C, 3) + lstm(1, 1, 3) + 3 * 12,
    ),
    Case(
        "MotionConvALSTM-attention",
        lambda: attending(layers.MotionConvALSTMCell, 3, 3, feed_top="attention", attention_units=5, init_state="mean"),
        [CLIP, FLOW],
        bahdanau(3, C, 5) + 3 * 5 + lstm(9, C, 3) + lstm(9, 1, 3) + 9 * C * 6 + 6 + 6 + 6,
        causal=False,
    ),
    Case(
        "MotionALSTM",
        lambda: attending(layers.MotionALSTMCell, 3, attention_units=5, init_state="mean"),
        [CLIP, (B, T, 4)],
        bahdanau(3, C, 5) + lstm(1, C, 3) + lstm(1, 4, 3) + 3 * 12 + 6 * C + 6 + 6 * 4 + 6,
        causal=False,
    ),
    Case(
        "MultiLSTM", lambda: rnn(layers.MultiLSTMCell(3, 3, attention_units=5)), (B, T, C), lstm(1, C, 3) + 5 * (C + 4)
    ),
    Case("MultiLSTM-uniform", lambda: rnn(layers.MultiLSTMCell(3, 3, attention=False)), (B, T, C), lstm(1, C, 3)),
    Case("OverlapAverage", lambda: layers.OverlapAverage(3, "probabilities"), (B, T, 6), 0, states=False),
    Case(
        "GRURCN",
        lambda: layers.GRURCN((3, 4)),
        [CLIP, (B, T, 5)],
        3 * 9 * 3 * (C + 3) + 3 * 4 * (5 + 4),
        states=False,
    ),
    Case(
        "GRURCN-stacked-both-ways",
        lambda: layers.GRURCN((3, 4), stacked=True, bidirectional=True),
        [CLIP, (B, T, 3, 4, C)],
        2 * (3 * 9 * 3 * (C + 3) + 3 * 9 * 4 * (C + 4) + 2 * 9 * 3 * 4),
        states=False,
        known=("space",),
    ),
    Case("LevelScores", lambda: layers.LevelScores(5), [(B, 3), (B, 4)], 3 * 5 + 5 + 4 * 5 + 5, states=False),
    Case("TemporalPool", lambda: layers.TemporalPool("mean"), CLIP, 0, states=False),
    Case("WindowMax", lambda: layers.WindowMax(3, 2), CLIP, 0, states=False),
    Case("LastPadded", lambda: layers.LastPadded(6), CLIP, 0, states=False),
    Case("AsMaps", lambda: layers.AsMaps(), (B, T, C), 0, states=False),
    Case("LocalResponseNorm", lambda: LocalResponseNorm(3, 0.5), CLIP, 0, states=False),
    Case("ScoreAverage-linear", lambda: layers.ScoreAverage("linear"), (B, T, 3), 0, states=False),
    Case(
        "classifier-lrcn",
        lambda: clip_classifier(
            vectors(),
            5,
            aggregator=keras.Sequential([keras.layers.Dropout(0.5), rnn(layers.PeepholeLSTMCell(3, peephole=None))]),
            step_loss="mean",
        ),
        {"video": CLIP},
        CONV + lstm(1, 3, 3) + 3 * 5 + 5,
        states=False,
    ),
    Case(
        "classifier-snippets",
        lambda: clip_classifier(
            vectors(),
            5,
            aggregator=keras.Sequential([rnn(layers.PeepholeLSTMCell(3)), rnn(layers.PeepholeLSTMCell(4))]),
            average="linear",
            step_loss="linear",
        ),
        {"video": CLIP},
        CONV + lstm(1, 3, 3) + 9 + lstm(1, 3, 4) + 12 + 4 * 5 + 5,
        states=False,
    ),
    Case(
        "classifier-conv-pooling",
        lambda: pooling(layers.TemporalPool(), keras.layers.Flatten(), dense()),
        {"video": CLIP},
        CONV + 3 * H * W * 4 + 4 + 4 * 5 + 5,
        states=False,
        known=("space",),
    ),
    Case(
        "classifier-late-pooling",
        lambda: pooling(layers.FrameWise(keras.layers.Flatten()), dense(), layers.TemporalPool()),
        {"video": CLIP},
        CONV + 3 * H * W * 4 + 4 + 4 * 5 + 5,
        states=False,
        known=("space",),
    ),
    Case(
        "classifier-slow-pooling",
        lambda: pooling(
            layers.FrameWise(keras.layers.Flatten()), layers.WindowMax(3, 1), dense(), layers.TemporalPool(), dense()
        ),
        {"video": CLIP},
        CONV + 3 * H * W * 4 + 4 + 4 * 4 + 4 + 4 * 5 + 5,
        states=False,
        known=("space",),
    ),
    Case(
        "classifier-local-pooling",
        lambda: pooling(
            layers.FrameWise(keras.layers.Flatten()),
            layers.WindowMax(3, 1),
            dense(),
            keras.layers.Flatten(),
            clip_frames=T,
        ),
        {"video": CLIP},
        CONV + 3 * H * W * 4 + 4 + 2 * 4 * 5 + 5,
        states=False,
        known=("time", "space"),
    ),
    Case(
        "classifier-time-domain",
        lambda: pooling(
            layers.AsMaps(),
            layers.LastPadded(3),
            keras.layers.ZeroPadding3D(((0, 0), (1, 1), (1, 1))),
            keras.layers.Conv3D(2, 3, (2, 1, 1), activation="relu"),
            layers.TemporalPool(),
            keras.layers.Flatten(),
            dense(),
        ),
        {"video": CLIP},
        CONV + 27 * 3 * 2 + 2 + 2 * H * W * 4 + 4 + 4 * 5 + 5,
        states=False,
        known=("space",),
    ),
    Case(
        "classifier-alstm",
        lambda: clip_classifier(
            frames(),
            5,
            aggregator=attending(layers.ALSTMCell, 3, 1, init_state="mean"),
            head=step_head(),
            step_loss="mean",
            attends=True,
            attention_penalty=0.1,
        ),
        {"video": CLIP},
        CONV + bahdanau(3, 3, 3) + lstm(1, 3, 3) + 6 * 3 + 6 + 3 * 4 + 4 + 4 * 5 + 5,
        states=False,
    ),
    Case(
        "classifier-video-lstm",
        lambda: clip_classifier(
            {"video": frames(), "flow": frames()},
            5,
            preprocessing={"video": layers.FramePreprocessing(), "flow": layers.FramePreprocessing()},
            aggregator=attending(layers.MotionConvALSTMCell, 3, 3, 1),
            head=step_head(),
            streams=("video", "flow"),
            attends=True,
        ),
        {"video": CLIP, "flow": FLOW},
        CONV + 30 + bahdanau(3, 3, 3) + lstm(9, 3, 3) + lstm(1, 3, 3) + 36 + 3 * H * W * 4 + 4 + 4 * 5 + 5,
        states=False,
        known=("space",),
    ),
    Case(
        "classifier-gru-rcn",
        lambda: clip_classifier(levels(), 5, aggregator=layers.GRURCN((3, 4)), head=layers.LevelScores(5)),
        {"video": CLIP},
        CONV + 3 * 9 * 3 * (3 + 3) + 3 * 4 * (3 + 4) + 3 * 5 + 5 + 4 * 5 + 5,
        states=False,
    ),
    Case(
        "classifier-multi-lstm",
        lambda: clip_classifier(
            vectors(),
            5,
            aggregator=rnn(layers.MultiLSTMCell(3, 2)),
            head=keras.Sequential([keras.layers.Dense(2 * 5), layers.OverlapAverage(2)]),
            average=None,
            attends=True,
        ),
        {"video": CLIP},
        CONV + lstm(1, 3, 3) + 3 * (3 + 3 + 1) + 3 * 10 + 10,
        states=False,
    ),
]
