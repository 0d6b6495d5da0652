"""A backbone, an aggregator and a head: clips in, class scores out."""

import keras
from keras import layers, ops

from keras_st.layers.config import ConfigFromArguments
from keras_st.layers.pooling import AVERAGES, ScoreAverage
from keras_st.layers.recurrent.base import check_positive


@keras.saving.register_keras_serializable(package="keras_st")
class ClipClassifier(ConfigFromArguments, keras.Model):
    """Recognises what happens in a clip.

        video or flow -> preprocessing -> backbone -> aggregator -> dropout -> dense = logits

    What comes out of the aggregator is one vector a clip (B, C), or one a frame (B, T, C): then every frame is scored
    and the scores averaged (`keras_st.layers.ScoreAverage`).

    Inputs (dict): `video`, or what `stream` names, float (B, T, H, W, C), values 0..1.

    Returns (dict): `logits` float32 (B, classes); their softmax are the probabilities.

    Args:
        backbone: layer or model, (B, T, H, W, C) -> features.
        classes: int. Number of classes; None: the backbone gives logits itself (a network with its own dense layers).
        preprocessing: layer or None. What the backbone's weights expect of pixels; saved and exported with the model.
        aggregator: layer or None. Features -> (B, C) or (B, T, C).
        dropout: float in [0, 1). Before the dense layer.
        average: "probabilities" or "logits", of frames that are scored one by one.
        stream: name of the input.

    Raises: ValueError: values outside the above; a clip with another number of channels.
    """

    def __init__(
        self,
        backbone,
        classes=None,
        preprocessing=None,
        aggregator=None,
        dropout=0.0,
        average="probabilities",
        stream="video",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if classes is not None:
            check_positive("classes", classes)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"`dropout` must lie in [0, 1). Received: dropout={dropout}")
        if average not in AVERAGES:
            raise ValueError(f"`average` must be one of {AVERAGES}. Received: average={average!r}")
        if classes is None and (dropout or aggregator is not None):
            raise ValueError("Without `classes` the backbone is the whole network. Received: classes=None and a head")
        self.backbone, self.classes, self.preprocessing, self.aggregator = backbone, classes, preprocessing, aggregator
        self.dropout, self.average, self.stream = dropout, average, stream
        if classes is not None:
            self.dropout_layer = layers.Dropout(dropout, dtype=self.dtype_policy)
            self.head = layers.Dense(classes, dtype=self.dtype_policy, name="logits")
        self.score_average = ScoreAverage(average, dtype=self.dtype_policy)

    @property
    def clip_shape(self):
        """(T, H, W, C) that the model takes, None where it varies."""
        return (*getattr(self.backbone, "input_shape", (None,) * 5)[1:-1], self.channels)

    @property
    def num_classes(self):
        """Length of the logits."""
        return self.classes or self.backbone.output_shape[-1]

    def build(self, input_shape):
        shape = tuple(input_shape[self.stream])
        self.channels = shape[-1]
        for layer in (self.preprocessing, self.backbone, self.aggregator):
            if layer is not None:
                if not layer.built:
                    layer.build(shape)
                shape = tuple(layer.compute_output_shape(shape))
        if self.classes is not None:
            self.head.build(shape)

    def call(self, inputs, training=None):
        clips = inputs[self.stream]
        if clips.shape[-1] != self.channels:
            raise ValueError(f"Clips have {self.channels} channels. Received: shape={tuple(clips.shape)}")
        x = self.features(clips, training)
        if self.aggregator is not None:
            x = self.aggregator(x)
        if self.classes is not None:
            x = self.head(self.dropout_layer(x, training=training))
        if len(x.shape) == 3:
            x = self.score_average(x)
        return {"logits": ops.cast(x, "float32")}

    def features(self, clips, training=None):
        """What the backbone gives for frames of values 0..1."""
        x = clips if self.preprocessing is None else self.preprocessing(clips)
        return self.backbone(x, training=training)

    def taps(self, names):
        """A model of clips that returns the outputs of layers of the backbone, by name; also "prob".

        Raises: ValueError: a name the backbone does not have.
        """
        known = [layer.name for layer in getattr(self.backbone, "layers", ())]
        unknown = [name for name in names if name not in (*known, "prob")]
        if unknown:
            raise ValueError(f"Taps must be layers of the backbone or prob: {known}. Received: {unknown[0]}")
        clips = keras.Input(self.clip_shape, name=self.stream)
        x = clips if self.preprocessing is None else self.preprocessing(clips)
        inner = [name for name in names if name in known and name != "prob"]
        outputs = {}
        if inner:
            inside = keras.Model(self.backbone.inputs, {n: self.backbone.get_layer(n).output for n in inner})
            outputs.update(inside(x))
        if "prob" in names:
            outputs["prob"] = ops.softmax(self({self.stream: clips})["logits"])
        return keras.Model(clips, outputs)

    def compute_output_shape(self, input_shape):
        return {"logits": (input_shape[self.stream][0], self.num_classes)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = ("backbone", "preprocessing", "aggregator")
        config = {**config, **{name: keras.saving.deserialize_keras_object(config[name]) for name in parts}}
        return cls(**config)


def clip_classifier(backbone, classes=None, **kwargs):
    """`ClipClassifier(backbone, classes, **kwargs)`: clips in, class scores out."""
    return ClipClassifier(backbone, classes, **kwargs)
