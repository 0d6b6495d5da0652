"""Streams, where the conformance test does not look: averages of scores, chains of layers, what is refused."""

import keras
import numpy as np
import pytest

from keras_st.layers import GRURCN, ConvLSTM2D, FinalStates, FrameStreams, FrameWise, OverlapAverage, ScoreAverage
from keras_st.layers.pooling import STEP_AVERAGES
from keras_st.layers.streaming import NotCausal, Stream, streamed


def steps(layer, sequences):
    """What a layer says after every step, and what its call does on all steps so far."""
    states, length = None, keras.tree.flatten(sequences)[0].shape[1]
    for t in range(length):
        stream = Stream(states)
        one = streamed(layer, keras.tree.map_structure(lambda x, t=t: x[:, t : t + 1], sequences), stream)
        whole = layer(keras.tree.map_structure(lambda x, t=t: x[:, : t + 1], sequences))
        states = stream.last
        yield keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(whole)


@pytest.mark.parametrize("average", STEP_AVERAGES)
def test_averages_of_scores_run_along(average, rng):
    scores = 5 * rng.normal(size=(3, 5, 4)).astype("float32")
    for one, whole in steps(ScoreAverage(average), scores):
        np.testing.assert_allclose(one, whole, atol=1e-5)


def test_labels_known_at_the_frame(rng):
    for one, whole in steps(OverlapAverage(3, online=True), rng.random((2, 4, 6), "float32")):
        np.testing.assert_array_equal(one[:, 0], whole[:, -1])


@pytest.mark.parametrize("apart", [False, True])
def test_streams_of_features(apart, rng):
    """Joined or apart, normalised, with all states of LSTMs on top of each other."""
    clips = [rng.normal(size=(2, 4, size)).astype("float32") for size in (5, 3)]
    if apart:
        layer = FrameStreams(apart=[FinalStates(3, 2, every=True), FinalStates(2, 1, "gru")], normalize=True)
    else:
        layer = FrameStreams([keras.layers.Dense(6), FinalStates(3, 2, every=True)], normalize=True)
    layer(clips)
    for one, whole in steps(layer, clips):
        np.testing.assert_allclose(one, whole, atol=1e-5)


def test_chains_and_frames(rng):
    clips = rng.normal(size=(2, 3, 6, 8, 1)).astype("float32")
    chain = keras.Sequential([FrameWise(keras.layers.Conv2D(2, 3)), ConvLSTM2D(3, 3, return_sequences=True)])
    chain(clips)
    for one, whole in steps(chain, clips):
        np.testing.assert_allclose(one[:, 0], whole[:, -1], atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv3D(1, 2, padding="same"),
        keras.Sequential([keras.layers.Flatten()]),
        ConvLSTM2D(2, 3, padding="same", go_backwards=True),
        OverlapAverage(2),
        GRURCN((2,), bidirectional=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_sees_a_clip_as_a_whole_is_refused(layer):
    with pytest.raises(NotCausal, match=layer.name if type(layer) is not keras.Sequential else "flatten"):
        streamed(layer, np.zeros((1, 1, 4, 4, 2), "float32"), Stream())
