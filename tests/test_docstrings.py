"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil

import pytest

import keras_st
import pipelines

MODULES = sorted(
    module.name
    for package in (keras_st, pipelines)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.startswith("keras_st.backend.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
