"""Published systems: a name, a recipe, a few lines that build the model."""

import inspect
from collections.abc import Callable

import keras

from keras_st.specs import InputError, Recipe
from keras_st.systems.beyond_short_snippets import (
    conv_pooling,
    late_pooling,
    local_pooling,
    slow_pooling,
    snippet_lstm,
    time_domain_conv,
)
from keras_st.systems.conv_gru import conv_gru
from keras_st.systems.conv_lstm import conv_lstm, dilated_conv_lstm, fc_lstm
from keras_st.systems.conv_lstm_variants import (
    deformable_conv_lstm,
    hierarchical_conv_lstm,
    self_attention_conv_lstm,
)
from keras_st.systems.e3d_lstm import e3d_bottom, e3d_lstm, e3d_lstm_classifier, e3d_top
from keras_st.systems.gru_rcn import bidirectional_gru_rcn, gru_rcn, stacked_gru_rcn
from keras_st.systems.hurricane import hurricane_forecasting, hurricane_tracking
from keras_st.systems.lrcn import lrcn
from keras_st.systems.multi_lstm import multi_lstm
from keras_st.systems.p3d import c3d, frame_resnet, p3d, p3d_a, p3d_b, p3d_c
from keras_st.systems.pred_rnn import pred_rnn
from keras_st.systems.radar import radar_nowcast
from keras_st.systems.seq2seq import seq2seq_attention
from keras_st.systems.video_lstm import (
    alstm,
    conv_alstm,
    conv_lstm_classifier,
    fc_lstm_classifier,
    motion_alstm,
    video_lstm,
)
from keras_st.systems.youtube8m import (
    yt8m_dbof,
    yt8m_fast_forward_lstm,
    yt8m_logistic,
    yt8m_lstm,
    yt8m_moe,
    yt8m_netvlad,
    yt8m_temporal_resnet,
    yt8m_two_stream_gru,
    yt8m_two_stream_lstm,
)

SYSTEMS: dict[str, Callable[..., Recipe]] = {
    "alstm": alstm,
    "bidirectional_gru_rcn": bidirectional_gru_rcn,
    "c3d": c3d,
    "conv_alstm": conv_alstm,
    "conv_gru": conv_gru,
    "conv_lstm": conv_lstm,
    "conv_lstm_classifier": conv_lstm_classifier,
    "conv_pooling": conv_pooling,
    "deformable_conv_lstm": deformable_conv_lstm,
    "dilated_conv_lstm": dilated_conv_lstm,
    "e3d_bottom": e3d_bottom,
    "e3d_lstm": e3d_lstm,
    "e3d_lstm_classifier": e3d_lstm_classifier,
    "e3d_top": e3d_top,
    "fc_lstm": fc_lstm,
    "fc_lstm_classifier": fc_lstm_classifier,
    "frame_resnet": frame_resnet,
    "gru_rcn": gru_rcn,
    "hierarchical_conv_lstm": hierarchical_conv_lstm,
    "hurricane_forecasting": hurricane_forecasting,
    "hurricane_tracking": hurricane_tracking,
    "late_pooling": late_pooling,
    "local_pooling": local_pooling,
    "lrcn": lrcn,
    "motion_alstm": motion_alstm,
    "multi_lstm": multi_lstm,
    "p3d": p3d,
    "p3d_a": p3d_a,
    "p3d_b": p3d_b,
    "p3d_c": p3d_c,
    "pred_rnn": pred_rnn,
    "radar_nowcast": radar_nowcast,
    "self_attention_conv_lstm": self_attention_conv_lstm,
    "seq2seq_attention": seq2seq_attention,
    "slow_pooling": slow_pooling,
    "snippet_lstm": snippet_lstm,
    "stacked_gru_rcn": stacked_gru_rcn,
    "time_domain_conv": time_domain_conv,
    "video_lstm": video_lstm,
    "yt8m_dbof": yt8m_dbof,
    "yt8m_fast_forward_lstm": yt8m_fast_forward_lstm,
    "yt8m_logistic": yt8m_logistic,
    "yt8m_lstm": yt8m_lstm,
    "yt8m_moe": yt8m_moe,
    "yt8m_netvlad": yt8m_netvlad,
    "yt8m_temporal_resnet": yt8m_temporal_resnet,
    "yt8m_two_stream_gru": yt8m_two_stream_gru,
    "yt8m_two_stream_lstm": yt8m_two_stream_lstm,
}


def list_systems() -> list[str]:
    """Names of all systems."""
    return sorted(SYSTEMS)


def recipe(name: str, dataset: str | None = None) -> Recipe:
    """The recipe of a system by name; where it has a protocol of its own for `dataset`, that one.

    Raises InputError, with the nearest name, where there is no such system.
    """
    if name not in SYSTEMS:
        raise InputError.unknown("system", name, SYSTEMS)
    own = dataset is not None and "dataset" in inspect.signature(SYSTEMS[name]).parameters
    return SYSTEMS[name](dataset) if own else SYSTEMS[name]()


def build(name: str, tiny: bool = False, **model_overrides) -> keras.Model:
    """The untrained model of a system; `tiny` at test size, `model_overrides` replace recipe options."""
    chosen = recipe(name)
    return (chosen.tiny() if tiny else chosen).build(**model_overrides)
