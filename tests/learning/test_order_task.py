"""The order task (recognition I): only what can see the order of frames can tell right from left."""

import numpy as np
import pytest

import train
from keras_st.metrics import classify

WORDS = ["--data.name=left_right", "--data.num_sequences=800", "--data.num_test_sequences=200"]
WORDS += ["--task.clip_frames=20", "--data.frame_size=32", "--training.learning_rate=0.003"]
WIDE = "--data.frame_size=16 --training.learning_rate=0.002 --model.width=32"
GRU = "--data.frame_size=16 --training.epochs=2 --training.learning_rate=0.002 --model.filters=[8,16,32]"
FLOW = "--data.flow=true --task.streams=[video,flow] --training.epochs=2 --model.width=8"
AWARE = {  # system -> its options
    "p3d": "--training.epochs=2 --task.clip_frames=16",
    "c3d": "--training.epochs=2 --task.clip_frames=16",
    "lrcn": "--training.epochs=5 --training.learning_rate=0.001 --model.dropout=0 --model.units=64 --model.width=8",
    "snippet_lstm": "--training.epochs=2 --model.width=8",
    "fc_lstm_classifier": "--training.epochs=2 --model.width=8",
    "conv_lstm_classifier": "--training.epochs=2 --model.width=8",
    "gru_rcn": GRU,
    "stacked_gru_rcn": GRU,
    "bidirectional_gru_rcn": GRU,
    "time_domain_conv": "--training.epochs=2 --model.width=8",
    "alstm": WIDE + " --data.num_sequences=1600 --training.epochs=6 --model.num_layers=1 --model.init_state=zeros "
    "--training.learning_rate=0.001",
    "conv_alstm": WIDE + " --data.num_sequences=1600 --training.epochs=4 --model.init_state=zeros",
    "motion_alstm": FLOW,
    "video_lstm": FLOW,
}
# Local pooling is not here: the scores of windows add up, so over all places where a clip may start (the frame wraps
# around) their mean is the same for both directions, and no weights can separate them.
BLIND = ["frame_resnet", "conv_pooling", "late_pooling", "slow_pooling"]


def accuracy(system, *words):
    recipe, _ = train.parse([system, *WORDS, *words])
    features, steps = train.examine(recipe)
    model = train.build_model(recipe, features)
    train.compile_model(model, recipe.training, steps)
    batches = train.with_all_targets(train.training_batches(recipe, features, 0, steps), model)
    model.fit(batches, steps_per_epoch=steps, epochs=recipe.training.epochs, verbose=0, shuffle=False)
    test = train.batches_of(recipe, features, "test")
    labels, logits = zip(*((y["logits"], model.predict_on_batch(x)["logits"]) for x, y in test))
    return classify.top_k_accuracy(np.concatenate(labels), np.concatenate(logits))


@pytest.mark.parametrize("system", AWARE)
def test_systems_that_see_order_solve_it(system):
    assert accuracy(system, *AWARE[system].split()) >= 0.98


@pytest.mark.parametrize("system", BLIND)
def test_systems_that_do_not_stay_at_chance(system):
    """Slow pooling sees a clip played backwards alike, for (20 - 10) is a multiple of 5."""
    assert accuracy(system, "--training.epochs=1") <= 0.6
