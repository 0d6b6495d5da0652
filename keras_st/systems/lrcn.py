"""LRCN: a network of frames, then an LSTM that says at every frame what happens (Donahue et al., CVPR 2015)."""

from keras_st.layers import PeepholeLSTMCell, SpatialRNN
from keras_st.models import clip_classifier
from keras_st.specs import ClassifyTask, Recipe
from keras_st.systems.clips import VECTORS, clips_recipe, frame_parts


def build_lrcn(
    task: ClassifyTask,
    classes: int = 6,
    units: int = 256,
    dropout: float = 0.5,
    **kwargs,
):
    """A vector a frame, an LSTM, a dense classifier at every step; probabilities averaged, losses as well.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        units: of the LSTM.
        dropout: rate before the classifier.
        **kwargs: see `frame_parts`.
    """
    return clip_classifier(
        classes=classes,
        aggregator=SpatialRNN(PeepholeLSTMCell(units, peephole=None), return_sequences=True),
        dropout=dropout,
        step_loss="mean",
        **frame_parts(task, VECTORS, **kwargs),
    )


def lrcn(dataset: str = "moving_shapes") -> Recipe:
    """LRCN for action recognition (Donahue et al., CVPR 2015). `python train.py lrcn`; ours: docs/results.

    The paper's network (its code read): `--model.backbone=caffenet --model.units=256 --model.feature_dropout=0.9
    --task.crop=[227,227] --task.resize=[240,320] --task.flip=true` (65,421,285 parameters with 101 classes and three
    channels), SGD at 0.001, momentum 0.9, weight decay 0.005, batches of 24 clips of 16 frames; test: clips that start
    every 8 frames, ten crops (`--task.test_crops=10`). UCF101, mean of three splits (journal version, Table 1, as read
    in notes): RGB 68.20 %, flow 77.28 %, both 80.90 % (1/2, 1/2) and 82.34 % (1/3, 2/3). Not reproduced.

    Differs: test clips are spread evenly (`--task.test_clips`); weight decay is decoupled; no higher rate for the
    classifier; the rate falls by a half cosine; crops are random whether a clip is mirrored or not (the released code
    crops mirrored clips only, an error of indentation). Captioning, the paper's other half, is not here.
    """
    return clips_recipe("lrcn", build_lrcn, dataset, {"units": 128}, {"units": 8, "width": 4})
