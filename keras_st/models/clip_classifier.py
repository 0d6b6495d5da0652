"""A backbone, an aggregator and a head: clips in, class scores out."""

import keras
from keras import layers, ops, tree

from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.frame_bag import called
from keras_st.layers.frame_wise import FrameWise
from keras_st.layers.pooling import STEP_AVERAGES, ScoreAverage
from keras_st.layers.recurrent.base import check_positive
from keras_st.layers.streaming import NotCausal, streamed
from keras_st.ops.attention import attention_penalty

STEP_LOSSES = (None, "mean", "linear")


@keras.saving.register_keras_serializable(package="keras_st")
class ClipClassifier(ConfigFromArguments, keras.Model):
    """Recognises what happens in a clip.

        video, flow, ... -> preprocessing -> backbone -> aggregator -> head = scores of the clip, or of its steps

    Scores of steps (B, T, classes) are averaged (`keras_st.layers.ScoreAverage`), or, with `average=None`, returned:
    then every frame has labels of its own.

    Inputs (dict): what `streams` names: `video` and `flow` float (B, T, H, W, C), values 0..1; stored features float
    (B, T, ...). Beside them `length` int (B,), where clips are padded: steps from there on change no score (of
    backbones that see one frame at a time), and their attention is 0.

    Returns (dict), float32: `logits` (B, classes), of `average=None` (B, T, classes); with a `step_loss` `step_logits`
    (B, T, classes); with `attends` the `attention` of the aggregator.

    Args:
        backbone: layer or model, (B, T, H, W, C) -> features, one tensor or several; of several streams a dict, stream
            to layer. None: the features are the input.
        classes: int. Number of classes; None: the backbone gives logits itself (a network with its own dense layers).
        preprocessing: layer or None; or a dict, stream to layer. What the backbone's weights expect of pixels; saved
            and exported with the model.
        aggregator: layer or None. Features (a list where there are several) -> (B, C) or (B, T, C).
        head: layer. What the aggregator gives -> logits (B, classes) or (B, T, classes). None: dropout, a dense layer.
        dropout: float in [0, 1). Before that dense layer.
        feature_dropout: float in [0, 1). On the features.
        average: how scores of steps become those of the clip, see `ScoreAverage`; None: they do not.
        step_loss: None, or train on the scores of every step: "mean" of the losses, or "linear", weighted by
            t / (T - 1) (Ng et al., CVPR 2015; the form of the weight is from memory of it). Steps beyond `length`
            count as all others do.
        streams: names of the inputs.
        attends: bool. The aggregator returns `(features, attention)`, both (B, T, ...).
        attention_penalty: float. Weight of `keras_st.ops.attention.attention_penalty`, beside the mean of the losses
            of steps.
        clip_frames: int or None. Steps that a clip must have; None: any number.
        multi_label: bool. Classes do not exclude each other: the probability of one is the sigmoid of its logit. With
            `average=None` it is always so.

    Raises: ValueError: values outside the above; a clip with another number of channels.
    """

    def __init__(
        self,
        backbone=None,
        classes=None,
        preprocessing=None,
        aggregator=None,
        head=None,
        dropout=0.0,
        feature_dropout=0.0,
        average="probabilities",
        step_loss=None,
        streams=("video",),
        attends=False,
        attention_penalty=0.0,
        clip_frames=None,
        multi_label=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if classes is not None:
            check_positive("classes", classes)
        for name, rate in (("dropout", dropout), ("feature_dropout", feature_dropout)):
            if not 0.0 <= rate < 1.0:
                raise ValueError(f"`{name}` must lie in [0, 1). Received: {name}={rate}")
        if average is not None and average not in STEP_AVERAGES:
            raise ValueError(f"`average` must be None or one of {STEP_AVERAGES}. Received: average={average!r}")
        if step_loss not in STEP_LOSSES or (step_loss and average is None):
            raise ValueError(
                f"`step_loss` must be one of {STEP_LOSSES}, and needs an `average`. "
                f"Received: step_loss={step_loss!r}, average={average!r}"
            )
        if classes is None and (dropout or aggregator is not None or head is not None):
            raise ValueError("Without `classes` the backbone is the whole network. Received: classes=None and a head")
        if attention_penalty < 0 or (attention_penalty and not attends):
            raise ValueError(
                f"`attention_penalty` is of a model that attends, 0 or more. Received: {attention_penalty}, {attends=}"
            )
        if head is not None and dropout:
            raise ValueError(f"A `head` has its own dropout. Received: dropout={dropout}")
        self.streams = tuple(streams)
        for name, part in (("backbone", backbone), ("preprocessing", preprocessing)):
            if isinstance(part, dict) and set(part) - set(self.streams):
                raise ValueError(f"`{name}` must be of {self.streams}. Received: {sorted(part)}")
            if part is not None and not isinstance(part, dict) and len(self.streams) > 1:
                raise ValueError(f"Several streams need a {name} for each. Received: streams={self.streams}")
        self.backbone, self.classes, self.preprocessing, self.aggregator = backbone, classes, preprocessing, aggregator
        self.head, self.dropout, self.average, self.step_loss = head, dropout, average, step_loss
        self.feature_dropout = feature_dropout
        self.feature_dropout_layer = layers.Dropout(feature_dropout, dtype=self.dtype_policy)
        self.attends, self.attention_penalty, self.clip_frames = attends, attention_penalty, clip_frames
        self.multi_label = multi_label or average is None
        if classes is not None and head is None:
            self.dropout_layer = layers.Dropout(dropout, dtype=self.dtype_policy)
            self.dense = layers.Dense(classes, dtype=self.dtype_policy, name="logits")
        if average is not None:
            self.score_average = ScoreAverage(average, dtype="float32")  # as what is returned

    def part(self, name, stream):
        """The `backbone` or `preprocessing` of a stream, None where it has none."""
        part = getattr(self, name)
        return part.get(stream) if isinstance(part, dict) else part

    @property
    def input_shapes(self):
        """`{stream: shape of a clip}` that the model takes, (T, H, W, C) of pixels, None where a size varies."""
        shapes = {}
        for stream, shape in self._built_for.items():
            if len(shape) == 2:  # of whole videos
                shapes[stream] = shape[1:]
                continue
            backbone = self.part("backbone", stream)
            known = getattr(backbone, "input_shape", (None,) * 5)[1:-1]
            if isinstance(backbone, FrameWise):
                known = (None, *getattr(backbone.layer, "input_shape", (None,) * 4)[1:-1])
            if backbone is None:
                known = (None, *shape[2:-1])
            shapes[stream] = (self.clip_frames or known[0], *known[1:], shape[-1])
        return shapes

    @property
    def returned(self):
        """Keys of what the model returns."""
        return ("logits", *["step_logits"] * (self.step_loss is not None), *["attention"] * self.attends)

    @property
    def num_classes(self):
        """Length of the logits."""
        return self.classes or self.backbone.output_shape[-1]

    def build(self, input_shape):
        self._built_for = {stream: tuple(input_shape[stream]) for stream in self.streams}
        more = {"length": input_shape["length"]} if "length" in input_shape else {}
        self.compute_output_shape({**self._built_for, **more})

    def call(self, inputs, training=None):
        mask = None
        if "length" in inputs:
            steps = ops.arange(ops.shape(inputs[self.streams[0]])[1], dtype="int32")
            mask = ops.less(steps[None], ops.cast(inputs["length"], "int32")[:, None])
        x, outputs = self.features(inputs, training), {}
        if self.aggregator is not None:
            x = called(self.aggregator, x, mask, training)
        if self.attends:
            x, attention = x
            attention = ops.cast(attention, "float32")
            if mask is not None:
                shape = (*ops.shape(mask), *(1,) * (len(attention.shape) - 2))
                attention = ops.where(ops.reshape(mask, shape), attention, 0.0)
            outputs["attention"] = attention
            if self.attention_penalty and training:
                self.add_loss(self.attention_penalty * ops.mean(attention_penalty(outputs["attention"])))
        if self.head is not None:
            x = called(self.head, x, mask, training)
        elif self.classes is not None:
            x = self.dense(self.dropout_layer(x, training=training))
        x = ops.cast(x, "float32")
        if self.step_loss is not None:
            if len(x.shape) != 3:
                raise ValueError(f"`step_loss` needs scores of steps (B, T, classes). Received: {tuple(x.shape)}")
            outputs["step_logits"] = x
        if len(x.shape) == 3 and self.average is not None:
            if self.multi_label:
                raise ValueError("Scores of steps are averaged of classes that exclude each other. Received: others")
            x = self.score_average(x, mask=mask)
        return {"logits": x, **outputs}

    def stream(self, inputs, stream):
        """Scores after one more frame (B, 1, ...) of every stream; see `keras_st.layers.streaming`.

        Returns: `logits` (B, classes), of `average=None` those of the frame; of a model that `attends` the `attention`
        (B, ...) on it. All else is as in a call on all frames so far.

        Raises: NotCausal: a part of the model looks at the clip as a whole.
        """
        if self.clip_frames or any(len(shape) < 3 for shape in self._built_for.values()):
            raise NotCausal(f"`{self.name}` takes clips as a whole. Received: a stream of frames")
        if "flow" in self.streams:
            raise NotCausal("The flow of a frame needs the next one. Received: a stream of frames")
        backbones = [self.part("backbone", name) for name in self.streams]
        if self.aggregator is None or not all(part is None or isinstance(part, FrameWise) for part in backbones):
            raise NotCausal(f"`{self.name}` looks at a clip as a whole. Received: a stream of frames")
        x, outputs = streamed(self.aggregator, self.features(inputs), stream), {}
        if self.attends:
            x, attention = x
            outputs["attention"] = ops.cast(attention[:, 0], "float32")
        head = self.dense if self.head is None else self.head
        of_all = isinstance(x, list) or len(x.shape) == 2  # what stands for all frames so far
        x = ops.cast(head(x) if of_all else streamed(head, x, stream), "float32")
        if len(x.shape) == 3:
            x = x[:, 0] if self.average is None else self.score_average.stream(x, stream)
        return {"logits": x, **outputs}

    def features(self, inputs, training=None):
        """What the backbones give for the streams of `inputs`: a tensor, or a list of all."""
        features = []
        for stream in self.streams:
            x, backbone, preprocessing = (
                inputs[stream],
                self.part("backbone", stream),
                self.part("preprocessing", stream),
            )
            if x.shape[-1] != self._built_for[stream][-1]:
                raise ValueError(
                    f"`{stream}` has {self._built_for[stream][-1]} channels. Received: shape={tuple(x.shape)}"
                )
            if self.clip_frames and x.shape[1] not in (None, self.clip_frames):
                raise ValueError(f"Clips have {self.clip_frames} frames. Received: shape={tuple(x.shape)}")
            x = x if preprocessing is None else preprocessing(x)
            features += tree.flatten(x if backbone is None else backbone(x, training=training))
        if self.feature_dropout:
            features = [self.feature_dropout_layer(x, training=training) for x in features]
        return features[0] if len(features) == 1 else features

    def taps(self, names):
        """A model of clips that returns the outputs of layers of the backbone, by name; also "prob".

        Raises: ValueError: a name the backbone does not have; several streams.
        """
        if len(self.streams) > 1:
            raise ValueError(f"Taps are those of a model of one stream. Received: streams={self.streams}")
        (stream,), backbone = self.streams, self.part("backbone", self.streams[0])
        network = backbone.layer if isinstance(backbone, FrameWise) else backbone
        known = [layer.name for layer in getattr(network, "layers", ())]
        unknown = [name for name in names if name not in (*known, "prob")]
        if unknown:
            raise ValueError(f"Taps must be layers of the backbone or prob: {known}. Received: {unknown[0]}")
        clips = keras.Input(self.input_shapes[stream], name=stream)
        preprocessing = self.part("preprocessing", stream)
        x = clips if preprocessing is None else preprocessing(clips)
        inner = [name for name in names if name in known and name != "prob"]
        outputs = {}
        if inner:
            inside = keras.Model(network.inputs, {n: network.get_layer(n).output for n in inner})
            outputs.update((FrameWise(inside) if isinstance(backbone, FrameWise) else inside)(x))
        if "prob" in names:
            outputs["prob"] = (ops.sigmoid if self.multi_label else ops.softmax)(self({stream: clips})["logits"])
        return keras.Model(clips, outputs)

    def compute_output_spec(self, inputs, training=None):
        return self.call(inputs, training)  # every part tells its own

    def compute_output_shape(self, input_shape):
        inputs = {name: keras.KerasTensor(shape, self.compute_dtype) for name, shape in input_shape.items()}
        return {name: tuple(x.shape) for name, x in self.call(inputs).items()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = ("backbone", "preprocessing", "aggregator", "head")
        config = {**config, **{name: keras.saving.deserialize_keras_object(config[name]) for name in parts}}
        return cls(**config)


def clip_classifier(backbone=None, classes=None, **kwargs):
    """`ClipClassifier(backbone, classes, **kwargs)`: clips in, class scores out."""
    return ClipClassifier(backbone, classes, **kwargs)
