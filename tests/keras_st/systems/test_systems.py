"""Every registered system: builds, is described, learns."""

import keras
import numpy as np
import pytest

import train
from keras_st.specs import InputError, Recipe
from keras_st.systems import SYSTEMS, build, list_systems, recipe


@pytest.fixture(params=sorted(SYSTEMS))
def tiny(request):
    return SYSTEMS[request.param]().tiny()


def test_recipe_is_documented_and_named(tiny):
    assert tiny.system in list_systems()
    assert f"train.py {tiny.system}" in SYSTEMS[tiny.system].__doc__
    assert isinstance(recipe(tiny.system), Recipe)


def test_recipe_survives_the_command_line(tiny):
    full = recipe(tiny.system)
    parsed, _ = train.parse([tiny.system])
    again = train.load_recipe(parsed.as_dict())
    assert again == parsed
    for section in ("data", "model"):
        for name, value in getattr(full, section).items():
            assert getattr(parsed, section)[name] == value
    assert (parsed.task, parsed.training) == (full.task, full.training)


def test_one_batch_is_learnt(tiny):
    """At most two hundred steps on one batch cut the loss in half."""
    keras.utils.set_random_seed(0)
    feature, _ = train.examine(tiny)
    model = train.build_model(tiny, feature)
    train.compile_model(model, tiny.training, 200)
    inputs, targets = next(iter(train.with_all_targets(train.batches_of(tiny, feature, "test"), model)))
    losses = []
    while len(losses) < 200 and (not losses or losses[-1] >= 0.5 * losses[0]):
        losses.append(model.train_on_batch(inputs, targets, return_dict=True)["loss"])
    assert np.isfinite(losses).all() and losses[-1] < 0.5 * losses[0], len(losses)


def test_build_by_name():
    model = build("conv_lstm", tiny=True, filters=(2, 3), forecaster="shared")
    assert [cell.filters for cell in model.cells] == [2, 3] and model.forecaster == "shared"
    assert model({"video": np.zeros((1, 2, 8, 8, 1))})["frames"].shape[1] == 3
    with pytest.raises(InputError, match="did you mean 'conv_lstm'"):
        build("convlstm")
