"""MultiLSTM: several labels for every frame, from an LSTM over the last frames (Yeung et al., IJCV 2018)."""

from typing import Literal

from keras import Sequential, layers

from keras_st.layers import MultiLSTMCell, OverlapAverage, SpatialRNN
from keras_st.models import clip_classifier
from keras_st.specs import ClassifyTask, InputError, Recipe
from keras_st.systems.clips import VECTORS, clips_recipe, frame_parts


def build_multi_lstm(
    task: ClassifyTask,
    classes: int = 5,
    units: int = 512,
    window: int = 15,
    attention: bool = True,
    attention_units: int | None = None,
    outputs: bool = True,
    average: Literal["logits", "probabilities"] = "logits",
    online: bool = False,
    dropout: float = 0.0,
    **kwargs,
):
    """A vector a frame, an LSTM that attends to the last frames, labels for all of those at every step, averaged.

    Args:
        task: clips of a video whose frames have labels of their own.
        classes: number of classes of the data set.
        units: of the LSTM.
        window: last frames that are seen, and labelled, at every step; 1: a plain LSTM.
        attention: false: the last frames count alike (the paper's LSTM + i).
        attention_units: width of the score; None: `units`.
        outputs: false: a step labels its own frame only (the paper's LSTM + i + a).
        average: of the labels that a frame gets: of "logits" or of "probabilities".
        online: score a frame from what is known at it.
        dropout: rate before the labels.
        **kwargs: see `frame_parts`.
    """
    if task.labels != "frames":
        raise InputError(f'MultiLSTM labels frames: --task.labels=frames. Received: labels="{task.labels}"')
    cell = MultiLSTMCell(units, window, attention, attention_units)
    labelled = window if outputs else 1
    head = [layers.Dropout(dropout), layers.Dense(labelled * classes), OverlapAverage(labelled, average, online)]
    return clip_classifier(
        classes=classes,
        aggregator=SpatialRNN(cell, return_sequences=True),
        head=Sequential(head),
        average=None,
        attends=True,
        **frame_parts(task, VECTORS, **kwargs),
    )


def multi_lstm(dataset: str = "overlapping_actions") -> Recipe:
    """MultiLSTM (Yeung et al., IJCV 2018). `python train.py multi_lstm`; ours: docs/results.

    Labels of frames, several at once. The paper's data set, MultiTHUMOS, has 65 classes and 1.5 labels a frame; a
    window of 15 frames and the product inside the score are from memory of the paper, whose figures are not printed for
    that reason. Frames get the mean of the labels that the steps from theirs on give them, so the last step's are known
    window - 1 frames later (`--model.online=true`: at once).
    """
    model = {"units": 64, "window": 8}
    small = {"units": 8, "window": 3, "width": 4}
    return clips_recipe("multi_lstm", build_multi_lstm, dataset, model, small)
