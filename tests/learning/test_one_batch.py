"""Every registered system learns."""

import numpy as np
import pytest

import train
from keras_st.systems import SYSTEMS


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_one_batch_is_learnt(system):
    """At most two hundred steps on one batch cut the loss in half."""
    tiny = SYSTEMS[system]().tiny()
    feature, _ = train.examine(tiny)
    model = train.build_model(tiny, feature)
    train.compile_model(model, tiny.training, 200)
    inputs, targets = next(iter(train.with_all_targets(train.batches_of(tiny, feature, "test"), model)))
    losses = []
    while len(losses) < 200 and (not losses or losses[-1] >= 0.5 * losses[0]):
        losses.append(model.train_on_batch(inputs, targets, return_dict=True)["loss"])
    assert np.isfinite(losses).all() and losses[-1] < 0.5 * losses[0], len(losses)
