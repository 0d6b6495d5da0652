"""The order task (recognition I): only what can see the order of frames can tell right from left."""

import numpy as np
import pytest

import train
from keras_st.metrics import classify

WORDS = ["--data.name=left_right", "--data.num_sequences=800", "--data.num_test_sequences=128"]
WORDS += ["--training.epochs=1", "--data.frame_size=32", "--training.learning_rate=0.003"]


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


@pytest.mark.parametrize("system", ["p3d", "c3d"])
def test_networks_that_see_order_solve_it(system):
    assert accuracy(system) >= 0.97


def test_a_frame_wise_network_stays_at_chance():
    assert abs(accuracy("frame_resnet") - 0.5) < 0.14  # 128 clips: 3 standard deviations
