"""Sequence to sequence with attention, on maps."""

from typing import Literal

from keras_st.layers import AttentionStack, ConvLSTMCell
from keras_st.specs import ForecastTask, Recipe
from keras_st.systems.digits import digits_recipe, forecaster_of


def build_seq2seq_attention(
    task: ForecastTask,
    filters: tuple[int, ...] = (64,),
    kernel_size: int = 3,
    attention_position: Literal["output", "input"] = "output",
    score: Literal["dot", "bilinear", "additive"] = "dot",
    attention_units: int | None = None,
    attention_scale: bool = False,
    forecaster: Literal["conditioned", "unconditioned"] = "unconditioned",
    **kwargs,
):
    """Stacked ConvLSTM cells whose forecaster looks back at the encoder; see `AttentionStack`.

    Args:
        task: context and horizon.
        filters: state channels of each level, lowest first.
        kernel_size: side of the kernels.
        attention_position: the sum over the encoder's states joins the forecaster's "output" or its "input".
        score: query (forecaster's state) against key (encoder's state).
        attention_units: width of the additive score, and only of it.
        attention_scale: divide dot and bilinear scores by the root of the key size.
        forecaster: see `forecaster_of`; "shared" would look back at itself.
        **kwargs: see `forecaster_of`.
    """
    cells = [ConvLSTMCell(2, f, kernel_size, padding="same") for f in filters]
    stack = AttentionStack(cells, attention_position, score, attention_units, attention_scale)
    return forecaster_of(stack, task, forecaster=forecaster, **kwargs)


def seq2seq_attention() -> Recipe:
    """Encoder-forecaster with attention over the encoder's states. `python train.py seq2seq_attention`.

    The attention of Luong et al. 2015 (or Bahdanau et al. 2015, `--model.attention_position=input`) with maps for
    values. No paper's score is comparable. Ours: docs/results.
    """
    return digits_recipe("seq2seq_attention", build_seq2seq_attention, {"filters": (64,)})
