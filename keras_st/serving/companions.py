"""What stands beside a served model: names of its classes, its signatures in words, the server's configuration."""

import contextlib
import hashlib
import json
import pathlib
import shlex
import urllib.parse

from keras_st.serving.c_loader import ServedModel
from keras_st.serving.signatures import client_features
from keras_st.serving.warmup import example_inputs, write_warmup
from keras_st.specs import InputError, MissingExtra

MODELS_CONFIG = """\
# tensorflow_model_server --model_config_file=THIS FILE
# base_path is the folder of the versions as the server sees it; the command in README.md mounts it there.
model_config_list {{
  config {{
    name: {name}
    base_path: {path}
    model_platform: "tensorflow"
    # The newest version serves; it takes over once it is loaded and warm, then the one before is unloaded.
    # To go back: model_version_policy {{ specific {{ versions: 1 }} }}
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

BATCHING_CONFIG = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=THIS FILE
# Requests that wait at the same time are joined along the batch axis, run once and taken apart again.

# Clips in one run, bounded by memory. A single request of more clips is refused: send several.
max_batch_size { value: 8 }
# How long the first clip of a batch waits for others (5 ms): short beside the run itself.
batch_timeout_micros { value: 5000 }
# Batches that wait; beyond them requests are refused at once, which is better than an answer too late.
max_enqueued_batches { value: 64 }
# Runs at the same time. About the number of cores, or two for a GPU.
num_batch_threads { value: 4 }
# A batch is filled up to one of these sizes with copies of a clip of its own, so that few shapes are ever run.
# The last one is max_batch_size.
allowed_batch_sizes: [1, 2, 4, 8]
# Never padded: a model takes appended frames and borders for real ones and answers something else. Clips that meet in
# a batch must therefore agree in frames, height and width; where they do not, all of that batch are refused ("have
# different shapes and padding is turned off"). Where clients send many sizes, serve without --enable_batching.
pad_variable_length_inputs: false
"""

MONITORING_CONFIG = """\
# tensorflow_model_server --monitoring_config_file=THIS FILE --rest_api_port=8501
# Prometheus reads http://HOST:8501/monitoring/prometheus/metrics
prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }
"""

README = """\
# {name}

The folders with numbers are versions of one model, as TensorFlow Serving reads them. Serve them from this folder:

```sh
docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD":{mounted}:ro tensorflow/serving \\
    --model_config_file={path}/models.config \\
    --enable_batching --batching_parameters_file={path}/batching.config \\
    --monitoring_config_file={path}/monitoring.config
```

gRPC is on port 8500, REST on 8501, metrics on 8501 under `/monitoring/prometheus/metrics`. A new version is loaded as
soon as its folder is there. The three `.config` files are written once and are yours to edit.

What a version takes and gives is in its `assets.extra/README.md`, with a request to try, and asked of the server:

```sh
curl {url}/metadata
```

The client that comes with keras_st needs neither keras_st nor Keras:

```sh
python examples/serving_client.py {command} {word} --input clip.avi{labels}
```
"""

VERSION_README = """\
# Signatures of {name}

| signature | | name | dtype | shape | values |
|---|---|---|---|---|---|
{rows}

B clips of T frames, H rows, W columns, C channels; `?` varies too. Clips of one request have the same shape.

```sh
python -c {program} | curl -d @- {url}:predict
```
"""

IMAGES = ("video", "frame", "flow", "frames")
VALUES = {
    "probabilities": "0..1",
    "logits": "scores before `probabilities`",
    "attention": "weights",
    "length": "frames of the clip that count",
}


def write_companions(folder, name, features, example, classes=None):
    """Writes what stands inside a version folder beside the model.

    Args:
        folder: path of a whole SavedModel, before it is renamed to its version.
        name: of the model.
        features: `FeatureSpec` of every input of the model; a forecaster's frames are of the first.
        example: dict of the shapes, with batch, of a clip that `serving_default` takes.
        classes: names of a classifier's classes, or None.

    Files: `assets.extra/README.md` (the signatures), `assets/labels.txt` (of classifiers),
    `assets.extra/tf_serving_warmup_requests` (where the extra `serving` is installed).

    Raises:
        InputError: a class whose name does not fit in a line; an example that does not fit the model.
    """
    if classes is not None:
        write_labels(folder, classes)
    with ServedModel(folder) as model:
        _write_signatures(folder, name, model.signatures, features, example)
        with contextlib.suppress(MissingExtra):
            write_warmup(folder, name, example=example, model=model)


def sums(folder):
    """`{path in the folder: SHA-256}` of all files of a version but its features.json, which lists them."""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file() and path != pathlib.Path(folder, "assets.extra", "features.json"):
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def write_labels(folder, classes):
    """Writes `assets/labels.txt` into a version folder: one class a line, in the order of the `probabilities`.

    Returns: its path.

    Raises:
        InputError: a name that does not fit in a line.
    """
    for name in classes:
        if str(name).splitlines() != [str(name)]:
            raise InputError(f"The name of a class must be one line of text. Received: {name!r}")
    path = pathlib.Path(folder, "assets", "labels.txt")
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    return path


def _write_signatures(folder, name, signatures, features, example):
    """Writes `assets.extra/README.md`: the signatures as a table, a request to try."""
    known = {feature.name: feature for feature in (*client_features(features), *features)} | {"frames": features[0]}
    rows = [
        f"| `{signature}` | {way} | `{tensor}` | {spec.dtype} | {_shape(tensor, spec)} "
        f"| {_values(signature, way, tensor, spec, known)} |"
        for signature, served in sorted(signatures.items(), key=lambda item: (item[0] != "serving_default", item[0]))
        for way, tensors in (("in", served.inputs), ("out", served.outputs))
        for tensor, spec in sorted(tensors.items())
    ]
    path = pathlib.Path(folder, "assets.extra", "README.md")
    path.parent.mkdir(exist_ok=True)
    program = shlex.quote(_program(example_inputs(signatures, "serving_default", example)))
    text = VERSION_README.format(name=name, rows="\n".join(rows), program=program, url=_url(name))
    path.write_text(text, encoding="utf-8")


def write_server_files(base_dir, classes=None):
    """Writes `models.config`, `batching.config`, `monitoring.config` and `README.md` beside the versions of a model.

    Those that are there stay as they are: they may have been edited.

    Args:
        base_dir: path of the folder that holds the versions; its name is the model's.
        classes: names of a classifier's classes; None: not a classifier.

    Returns: list of the paths written.
    """
    base = pathlib.Path(base_dir).resolve()
    name, path = base.name, f"/models/{base.name}"
    texts = {
        "models.config": MODELS_CONFIG.format(name=_quoted(name), path=_quoted(path)),
        "batching.config": BATCHING_CONFIG,
        "monitoring.config": MONITORING_CONFIG,
        "README.md": README.format(
            name=name,
            path=shlex.quote(path),
            mounted=shlex.quote(path),
            url=_url(name),
            command="forecast" if classes is None else "classify",
            word=shlex.quote(name),
            labels="" if classes is None else " --labels VERSION/assets/labels.txt",
        ),
    }
    written = []
    for file, text in texts.items():
        try:
            with open(base / file, "x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            continue
        written.append(base / file)
    return written


def _shape(name, spec):
    letters = "B" if name.startswith("state_") else "BT"
    if name in IMAGES:
        letters = "BHWC" if len(spec.shape) == 4 else "BTHWC"
    sizes = [size or (letters[axis : axis + 1] or "?") for axis, size in enumerate(spec.shape)]
    return f"({', '.join(map(str, sizes))}{',' * (len(sizes) == 1)})"


def _values(signature, way, name, spec, features):
    """What the numbers of a tensor are: range and unit."""
    if name.startswith("state_"):
        return "from `init_state` or the last `step`" if way == "in" else "for the next `step`"
    if spec.dtype == "string":
        return "a JPEG or PNG file per frame"
    if name in VALUES:
        return VALUES[name]
    feature = features.get("video" if name == "frame" else name)
    if feature is None:
        return ""
    if name == "frames" and feature.dtype == "uint8" or way == "in" and signature == "serving_float":
        return "0..1"
    if signature == "init_state":
        return "any: only the shape counts"
    low_high = "{:g}..{:g}".format(*feature.value_range) if feature.value_range else ""
    return ", ".join(part for part in (low_high, feature.unit) if part)


def _program(inputs):
    """Python that prints a request of constant inputs as JSON."""
    arrays = ", ".join(
        f'"{name}": numpy.full({x.shape}, {x.flat[0]}, "{x.dtype}").tolist()' for name, x in inputs.items()
    )
    return f'import json, numpy; print(json.dumps({{"inputs": {{{arrays}}}}}))'


def _url(name):
    return shlex.quote(f"http://localhost:8501/v1/models/{urllib.parse.quote(name)}")


def _quoted(text):
    """A string of protobuf's text format."""
    return json.dumps(text, ensure_ascii=False)
