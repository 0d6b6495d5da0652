"""Every registered system: builds, is described."""

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


def test_build_by_name():
    model = build("conv_lstm", tiny=True, filters=(2, 3), forecaster="shared")
    assert [cell.filters for cell in model.cells] == [2, 3] and model.forecaster == "shared"
    assert model({"video": np.zeros((1, 2, 8, 8, 1))})["frames"].shape[1] == 3
    with pytest.raises(InputError, match="did you mean 'conv_lstm'"):
        build("convlstm")
