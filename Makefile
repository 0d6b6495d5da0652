# Every target makes the virtual environment it needs, so that it is the only command to run.
PYTHON ?= python3.11
BIN = .venv/bin
BACKENDS = .venv-backends/bin
IO = .venv-io/bin
PYSTEPS = .venv-pysteps/bin
PYTEST = -m pytest -n 2 --dist=worksteal  # long tests come last in their files

.PHONY: help demo test test-learning test-backends test-io test-pysteps check-all lint bench bench-e3d bench-p3d bench-recognition bench-pipeline bench-flow bench-youtube8m bench-serving bench-formats ablation

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:[^#]*## /: /'

demo: .venv/ready  ## train the default forecaster for about three minutes, evaluate it, export it
	$(BIN)/python train.py

test: .venv/ready  ## every test, TensorFlow backend
	$(BIN)/python $(PYTEST)

test-learning: .venv/ready  ## systems are trained and must learn what they can, every option is tried (a quarter of an hour)
	$(BIN)/python $(PYTEST) tests/learning

# Tests on JAX mostly compile: quickly compiled code is what they want.
QUICK_XLA = XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
test-backends: .venv-backends/ready  ## layers and models on the JAX and PyTorch backends
	$(QUICK_XLA) KERAS_BACKEND=jax JAX_ENABLE_X64=1 $(BACKENDS)/python $(PYTEST) tests/conformance tests/keras_st/layers tests/keras_st/models tests/keras_st/ops
	KERAS_BACKEND=torch $(BACKENDS)/python $(PYTEST) tests/conformance tests/keras_st/layers tests/keras_st/models tests/keras_st/ops tests/keras_st/flow

test-io: .venv-io/ready  ## S3 and HDF5 through tensorflow-io, on the last TensorFlow that loads it
	$(IO)/python -m pytest tests/io

test-pysteps: .venv-pysteps/ready  ## scores of nowcasts beside pysteps's own, its extrapolation, a nowcast method for it
	$(PYSTEPS)/python -m pytest tests/beside_pysteps

check-all: .venv/ready  ## every system's export at toy size, checked over the whole grid of batch, time and size
	$(BIN)/python -m pytest tests/keras_st/serving/test_served_systems.py --full-grid

BACKEND ?= tensorflow
bench: .venv-backends/ready  ## ConvLSTM2D beside Keras's and a PyTorch cell: time, memory (BACKEND=tensorflow|jax|torch)
	$(BACKENDS)/python -m benchmarks.recurrent --backend=$(BACKEND) \
		--out=runs/benchmarks/recurrent_$(BACKEND)_$$(date -u +%Y%m%d-%H%M%S).json

bench-e3d: .venv-backends/ready  ## E3D-LSTM: time and memory over lengths, RECALL against its plain form
	$(BACKENDS)/python -m benchmarks.e3d_lstm --backend=$(BACKEND) \
		--out=runs/benchmarks/e3d_lstm_$(BACKEND)_$$(date -u +%Y%m%d-%H%M%S).json

bench-p3d: .venv-backends/ready  ## P3D-63 beside C3D: clips per second, memory (BACKEND=tensorflow|jax|torch)
	$(BACKENDS)/python -m benchmarks.p3d --backend=$(BACKEND) \
		--out=runs/benchmarks/p3d_$(BACKEND)_$$(date -u +%Y%m%d-%H%M%S).json

bench-recognition: .venv/ready  ## a training step of every recogniser of clips beside the others
	$(BIN)/python -m benchmarks.recognition \
		--out=runs/benchmarks/recognition_$$(date -u +%Y%m%d-%H%M%S).json

VIDEOS ?= $(KERAS_ST_DATA)/ut_interaction/clips.csv
bench-pipeline: .venv-backends/ready  ## preparing VIDEOS, reading clips from shards beside OpenCV in a DataLoader
	$(BACKENDS)/python -m benchmarks.pipeline "$(VIDEOS)" \
		--out=runs/benchmarks/pipeline_$$(date -u +%Y%m%d-%H%M%S).json

bench-flow: .venv/ready  ## TVL1Flow beside OpenCV's TV-L1, DIS and Farneback on the Middlebury pairs: errors, time
	$(BIN)/python -m benchmarks.flow --data="$(KERAS_ST_DATA)/optical_flow" \
		--out=runs/benchmarks/flow_$$(date -u +%Y%m%d-%H%M%S).json

bench-youtube8m: .venv/ready  ## reading YouTube-8M's records beside loops in Python: videos a second and core
	$(BIN)/python -m benchmarks.youtube8m \
		--out=runs/benchmarks/youtube8m_$$(date -u +%Y%m%d-%H%M%S).json

bench-serving: .venv/ready  ## served models by TensorFlow's C API beside Keras and ONNX Runtime; steps of streams
	$(BIN)/python -m benchmarks.serving \
		--out=runs/benchmarks/serving_$$(date -u +%Y%m%d-%H%M%S).json

bench-formats: .venv/ready  ## which systems ONNX and LiteRT can express, and how near their numbers are
	$(BIN)/python -m benchmarks.formats \
		--out=runs/benchmarks/formats_$$(date -u +%Y%m%d-%H%M%S).json

STEPS ?= 200
SEEDS ?= 0
ablation: .venv/ready  ## E3D-LSTM's ablations: STEPS optimizer steps a run (200), SEEDS (0)
	$(BIN)/python -m benchmarks.e3d_ablation --steps=$(STEPS) --seeds $(SEEDS) \
		--out=runs/benchmarks/e3d_ablation_$$(date -u +%Y%m%d-%H%M%S).json

lint: .venv/ready  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable ".[test,lint]"
	touch $@

# A PyTorch that is installed already (a CPU build, say) is reused: put its version in TORCH.
TORCH ?= torch==2.13.0
.venv-backends/ready: pyproject.toml
	$(PYTHON) -m venv .venv-backends
	$(BACKENDS)/python -m pip install --quiet "$(TORCH)"
	$(BACKENDS)/python -m pip install --quiet --editable ".[test,jax,torch]"
	touch $@

.venv-io/ready: pyproject.toml
	$(PYTHON) -m venv .venv-io
	$(IO)/python -m pip install --quiet --editable ".[test-io]"
	touch $@

.venv-pysteps/ready: pyproject.toml
	$(PYTHON) -m venv .venv-pysteps
	$(PYSTEPS)/python -m pip install --quiet --editable ".[pysteps]" pytest
	touch $@
