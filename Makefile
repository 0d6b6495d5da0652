# Every target makes the virtual environment it needs, so that it is the only command to run.
PYTHON ?= python3.11
VENV = .venv
BIN = $(VENV)/bin

.PHONY: demo test test-backends lint bench clean

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[test,lint]"
	touch $@

demo: $(VENV)/ready  ## train, evaluate and export the default forecaster
	$(BIN)/python train.py

test: $(VENV)/ready  ## every test on the TensorFlow backend
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
