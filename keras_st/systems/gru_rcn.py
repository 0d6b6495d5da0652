"""GRU-RCN: convolutional GRUs over the percepts of several levels of a network (Ballas et al., ICLR 2016)."""

from keras_st.layers import GRURCN, LevelScores
from keras_st.models import clip_classifier
from keras_st.specs import ClassifyTask, Recipe
from keras_st.systems.clips import LEVELS, clips_recipe, frame_parts


def build_gru_rcn(
    task: ClassifyTask,
    classes: int = 6,
    filters: tuple[int, ...] = (64, 128, 256, 256, 512),
    kernel_size: int = 3,
    stacked: bool = False,
    bidirectional: bool = False,
    use_bias: bool = False,
    dropout: float = 0.7,
    **kwargs,
):
    """A convolutional GRU and a classifier on every level of a network of frames; their probabilities averaged.

    Args:
        task: clips of a video.
        classes: number of classes of the data set.
        filters: channels of the hidden maps, one a level.
        kernel_size: of the GRUs (1 on dense layers).
        stacked: levels read the hidden maps of the level below.
        bidirectional: a second set of GRUs reads the clip backwards.
        use_bias: biases, which the paper's equations lack.
        dropout: rate before the classifiers.
        **kwargs: see `frame_parts`.
    """
    return clip_classifier(
        classes=classes,
        aggregator=GRURCN(filters, kernel_size, stacked, bidirectional, use_bias),
        head=LevelScores(classes, dropout),
        **frame_parts(task, LEVELS, **kwargs),
    )


def gru_rcn(dataset: str = "moving_shapes") -> Recipe:
    """GRU-RCN (Ballas et al., ICLR 2016). `python train.py gru_rcn`; ours: docs/results.

    The paper's: `--model.backbone=vgg16 --model.filters=[64,128,256,256,512] --task.clip_frames=10
    --task.crop=[224,224] --task.flip=true --task.test_clips=25 --task.test_crops=10 --model.dropout=0.7`, VGG-16
    trained on UCF101 first; 19,353,600 recurrent weights. On UCF101 split 1 VGG-16 alone has 78.0 % (RGB), fused with
    flow 89.1 %, the bidirectional form fused with flow 90.8 % (as read in notes). Not reproduced.

    Differs: training draws crops of one size, the paper's of four. The classifiers' probabilities are averaged, also
    in the loss; one public implementation averages logits.
    """
    return _recipe("gru_rcn", dataset)


def stacked_gru_rcn(dataset: str = "moving_shapes") -> Recipe:
    """GRU-RCN whose levels read the level below, see gru_rcn. `python train.py stacked_gru_rcn`."""
    return _recipe("stacked_gru_rcn", dataset, stacked=True)


def bidirectional_gru_rcn(dataset: str = "moving_shapes") -> Recipe:
    """GRU-RCN that also reads backwards, see gru_rcn. `python train.py bidirectional_gru_rcn`."""
    return _recipe("bidirectional_gru_rcn", dataset, bidirectional=True)


def _recipe(system, dataset, **model):
    model = {"filters": (16, 32, 64), "dropout": 0.0, **model}
    return clips_recipe(system, build_gru_rcn, dataset, model, {"filters": (2, 3, 4), "width": 4})
