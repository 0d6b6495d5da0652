"""What E3D-LSTM learns (spec V5.12), at test size. The comparison with no recall is benchmarks/e3d_ablation.py."""

import dataclasses

import numpy as np

import train
from keras_st.metrics import classify
from keras_st.metrics.forecast import TRIVIAL_FORECASTS


def trained(words):
    recipe, _ = train.parse([*words, "--training.epochs=1"])
    feature, steps = train.examine(recipe)
    model = train.build_model(recipe, feature)
    train.compile_model(model, recipe.training, steps)
    model.fit(train.training_batches(recipe, feature, 0, steps), steps_per_epoch=steps, verbose=0, shuffle=False)
    return recipe, feature, model


def test_v5_12_a_first_clip_is_reproduced_after_an_unrelated_one():
    """The copy task: error well below the best trivial forecast's (the mean of both clips), on clips never seen."""
    words = ["e3d_lstm", "--data.name=copy_task", "--task.context_frames=4", "--task.horizon_frames=2"]
    words += ["--data.num_sequences=2400", "--data.num_test_sequences=64", "--model.filters=[16]"]
    recipe, feature, model = trained(words)
    errors, trivial = [], []
    for inputs, targets in train.batches_of(recipe, feature, "test"):
        truth, context = targets["frames"].numpy(), inputs["video"].numpy()
        errors.append(np.square(model.predict_on_batch(inputs)["frames"] - truth).mean())
        trivial.append([np.square(f(context, 2) - truth).mean() for f in TRIVIAL_FORECASTS.values()])
    assert np.mean(errors) < 0.7 * np.mean(trivial, axis=0).min()


def test_motion_is_recognised_from_the_first_quarter_and_half():
    """Six classes, one model: the part of a clip that is seen is read, the rest predicted."""
    words = [
        "e3d_lstm_classifier",
        "--task.context_frames=4",
        "--task.horizon_frames=4",
        "--training.forecast_weight=0.5",
    ]
    words += ["--data.num_sequences=3600", "--data.num_test_sequences=120"]
    recipe, feature, model = trained(words)
    accuracy = {}
    for seen in (2, 4):
        task = dataclasses.replace(recipe.task, context_frames=seen, horizon_frames=8 - seen)
        batches = train.batches_of(dataclasses.replace(recipe, task=task), feature, "test")
        labels, logits = zip(*((y["logits"], model(x, horizon_frames=8 - seen)["logits"]) for x, y in batches))
        accuracy[seen] = classify.top_k_accuracy(np.concatenate(labels), np.concatenate(logits))
    assert accuracy[4] > 0.4 and accuracy[2] > 0.25, accuracy  # chance is 0.17, and 0.24 at the 98th percentile
