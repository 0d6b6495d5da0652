"""A nowcast learns what advection cannot know."""

import keras
import numpy as np

from keras_st.metrics.nowcast import csi
from keras_st.specs import ForecastTask, Training
from keras_st.systems.radar import build_radar_nowcast
from keras_st.training.compile import make_optimizer
from keras_st.training.losses import LOSSES

CONTEXT, HORIZON, SIZE = 4, 4, 32


def showers(count, seed):
    """Showers that move a cell to the right a step; weak ones fade to a tenth in the horizon, others last. mm/h."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    fields = np.zeros((count, CONTEXT + HORIZON, SIZE, SIZE, 1), "float32")
    for n in range(count):
        for row, column in rng.uniform([0, -8], [SIZE, SIZE], (12, 2)):
            peak = rng.choice([4.0, 12.0])
            for t in range(CONTEXT + HORIZON):
                fade = 0.1 ** (max(t - CONTEXT + 1, 0) / HORIZON) if peak < 8 else 1.0
                fields[n, t, ..., 0] += fade * peak * np.exp(-((y - row) ** 2 + (x - column - t) ** 2) / 6)
    return np.where(fields < 0.1, np.float32(0), fields)


def test_rain_that_fades_is_not_forecast():
    """Without matching: it keeps the total, which here falls."""
    keras.utils.set_random_seed(0)
    train, test = showers(64, 1), showers(16, 2)
    options = {"filters": (16,), "patch": 2, "smoothing": 6.0, "spread": 0.0, "match": False}
    model = build_radar_nowcast(ForecastTask(CONTEXT, HORIZON), **options)
    model.build({"video": (None, CONTEXT, SIZE, SIZE, 1)})
    inputs, truth = {"video": test[:, :CONTEXT]}, test[:, CONTEXT:]
    untrained = model.predict_on_batch(inputs)["frames"]  # extrapolation
    training = Training(epochs=16, learning_rate=1e-2, clip_norm=1.0)
    model.compile(make_optimizer(training, 16), loss={"frames": LOSSES["relative"]})
    model.fit({"video": train[:, :CONTEXT]}, {"frames": train[:, CONTEXT:]}, batch_size=4, epochs=16, verbose=0)
    trained = model.predict_on_batch(inputs)["frames"]
    scores = [csi(truth, frames, 2.0) for frames in (untrained, trained)]
    errors = [np.abs(frames - truth).mean() for frames in (untrained, trained)]
    assert scores[1] > scores[0] + 0.07 and errors[1] < 0.85 * errors[0], (scores, errors)
