"""Trains a system, evaluates it and exports it.

    python train.py [SYSTEM] [--data.name=... --model.filters=... --training.epochs=...]
    python train.py SYSTEM --help            every option, its type and its default
    python train.py SYSTEM --print_config    the resolved recipe as YAML, which --config reads
    python train.py SYSTEM --describe        parameters and multiply-adds of its model; needs no data
    python train.py SYSTEM --extract DIR     what its networks of frames see of every frame, in shards to train from
    python train.py --resume RUN             goes on with a run that was interrupted

Writes `runs/<system>/<id>/`: recipe.yaml (resolved), environment.json, features.json, history.csv, checkpoint,
model.keras, metrics.json, evaluation/; then `saved_models/<system>/<version>/`. Nothing is overwritten.
"""

import dataclasses
import datetime
import inspect
import json
import math
import os
import pathlib
import sys
from argparse import ArgumentError

import yaml
from jsonargparse import ArgumentParser

from keras_st import cli

with cli.quiet_import():
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import tree

    tf.config.list_physical_devices()

import evaluate
import evaluate_classes
from keras_st import saved
from keras_st.layers import FrameWise
from keras_st.models import ClipClassifier
from keras_st.reports.describe import description
from keras_st.specs import LENGTH, ClassifyTask, ForecastTask, ForecastTraining, InputError, Recipe, Training
from keras_st.systems import list_systems
from keras_st.systems import recipe as recipe_of
from keras_st.training.callbacks import Checkpoint, LogWeight, progress_callbacks
from keras_st.training.compile import compile_classifier, compile_forecaster
from keras_st.training.schedules import LinearlyDecayedWeight, make_policy
from pipelines import feature_spec, list_datasets, make_dataset
from pipelines.build import DATASETS, class_names
from pipelines.classify import check_elements, first_view, training_clips, view_batches, whole_videos
from pipelines.forecast import (
    add_context_targets,
    add_decoupling_targets,
    add_forecast_weight,
    add_rollout,
    forecast_batches,
)
from pipelines.records import write_shards

DEFAULT_SYSTEM = "conv_lstm"
EXTRACTED_FRAMES = 32  # at a time
KNOW_MISSING = ("balanced", "relative")  # losses in which missing cells have no part
SET_HERE = {
    "epoch",
    "seed",
    "num_frames",
    "min_frames",
    "context_frames",
    "max_frames",
    "classes",
    "shuffle",
    "encoded",
    "process",
    "processes",
}  # options of data sets that follow from the recipe


def main(argv):
    recipe, options = parse(argv)
    if options.describe:
        try:
            features = features_of(recipe, "train")
        except InputError:  # the data set is not there
            features = None
        return print(description(recipe, features))
    features, steps = examine(recipe)
    model = build_model(recipe, features)
    check_targets(recipe, model, features)
    if options.extract:
        names = extract(recipe, model, features, options.extract)
        return print(f"shards: {options.extract} (--data.name=records --task.streams=[{','.join(names)}])")
    if options.resume:
        run = pathlib.Path(options.resume)
        if (run / "done.json").exists():
            raise InputError(f"The run is complete, there is nothing to resume. Received: --resume={run}")
        parent = json.loads((run / "environment.json").read_text())["saved_models"]
    else:
        run, parent = new_run(pathlib.Path(options.runs, recipe.system)), options.saved_models
        (run / "recipe.yaml").write_text(yaml.safe_dump(recipe.as_dict(), sort_keys=False))
        environment = {**cli.environment(), "saved_models": parent}
        (run / "environment.json").write_text(json.dumps(environment, indent=1) + "\n")
    print(f"run: {run} (to go on after an interruption: python train.py --resume={run})", flush=True)
    fit(recipe, model, features, steps, run)
    finish(recipe, run, model, features, pathlib.Path(parent, recipe.system))


# Command line


def parse(argv):
    """`(recipe, options)` of a command line. Raises InputError, with the nearest name, where it is wrong."""
    argv = list(argv)
    system = argv.pop(0) if argv and not argv[0].startswith("-") else _option(argv, "--system")
    given = _option(argv, "--config")
    if (run := _option(argv, "--resume")) is not None:
        changed = [word for word in argv if word.startswith(("--data", "--model", "--task", "--training", "--config"))]
        if changed or system:
            raise InputError(f"`--resume` goes on with the run's own recipe. Received: {changed or system}")
        if not pathlib.Path(run, "recipe.yaml").is_file():
            raise InputError(f"`--resume` takes the folder of a run, which holds recipe.yaml. Received: --resume={run}")
        given = str(pathlib.Path(run, "recipe.yaml"))
        argv.append(f"--config={given}")
    config = read_config(given) if given else {}
    base, parser = make_parser(system, _option(argv, "--data.name"), config, _option(argv, "--data.root"))
    parsed = cli.parse(parser, argv)
    return make_recipe(base, parser, parsed), parsed


def load_recipe(config):
    """The recipe that `Recipe.as_dict` describes."""
    base, parser = make_parser(None, None, config)
    try:
        return make_recipe(base, parser, parser.parse_object(config))
    except (ArgumentError, TypeError) as error:
        raise InputError(f"The stored recipe does not fit this version. Received: {error}") from error


def make_recipe(base, parser, parsed):
    made = parser.instantiate(parsed)
    data = {name: cli.with_variable(value) for name, value in vars(parsed.data).items()}
    return dataclasses.replace(base, task=made.task, data=data, model=vars(parsed.model), training=made.training)


def make_parser(system, dataset, config, root=None):
    """`(recipe, parser)` of a system on a data set; the functions and dataclasses that take options type them."""
    system = system or config.get("system", DEFAULT_SYSTEM)
    dataset = dataset or config.get("data", {}).get("name", recipe_of(system).data["name"])
    if dataset not in DATASETS:
        raise InputError.unknown("data set", dataset, DATASETS)
    base = recipe_of(system, dataset)
    parser = ArgumentParser(prog=f"train.py {base.system}", description=describe(base.system), exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML of a recipe, as --print_config writes it.")
    parser.add_argument("--describe", action="store_true", help="Print parameters and multiply-adds, train nothing.")
    parser.add_argument("--extract", help="Folder to make: features of all splits, as shards. Trains nothing.")
    parser.add_argument("--resume", help="Folder of an interrupted run to go on with.")
    parser.add_argument("--runs", default="runs", help="Parent of the run folders.")
    parser.add_argument("--saved_models", default="saved_models", help="Parent of the exported folders.")
    parser.add_argument(
        "--system", default=base.system, help="System; the first word of the command line says the same."
    )
    parser.add_argument("--data.name", default=dataset, help="Data set; its own options follow.")
    parser.add_function_arguments(DATASETS[dataset], "data", skip={*SET_HERE, "split"}, fail_untyped=True)
    parser.add_class_arguments(type(base.task), "task")
    parser.add_function_arguments(base.builder, "model", skip={"task"}, fail_untyped=True)
    parser.add_class_arguments(type(base.training), "training")
    own = base.data if base.data["name"] == dataset else {}
    defaults = {"data": own, "task": dataclasses.asdict(base.task), "model": base.model}
    defaults["training"] = dataclasses.asdict(base.training)
    parser.set_defaults(dict(_flatten(defaults)))
    if "classes" in base.model and (names := known_classes(dataset, root)):
        parser.set_defaults({"model.classes": len(names)})
    return base, parser


def known_classes(dataset, root):
    """Names of a data set's classes, None where it has none, or is not there (which is told when it is opened)."""
    try:
        return class_names(dataset, root=root or "")
    except InputError:
        return None


def describe(system):
    others = f"Systems: {', '.join(list_systems())}. Data sets: {', '.join(list_datasets())}."
    return f"Trains {system}, evaluates it and exports it. {others}"


def read_config(path):
    try:
        config = yaml.safe_load(pathlib.Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"The recipe must be a readable YAML file. Received: {path}: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"The recipe must be a YAML mapping. Received: {path}: {type(config).__name__}")
    return config


def _option(argv, name):
    for n, word in enumerate(argv):
        if word == name and n + 1 < len(argv):
            return argv[n + 1]
        if word.startswith(name + "="):
            return word.split("=", 1)[1]
    return None


def _flatten(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


# Training


def examine(recipe: Recipe):
    """`(features, steps in an epoch)`; every split is opened, so that bad data fails before anything is written."""
    clips = {split: dataset_of(recipe, split) for split in ("train", "validation", "test")}
    steps = math.ceil(int(clips["train"].cardinality()) / recipe.training.batch_size)
    features = features_of(recipe, "train")
    if isinstance(recipe.task, ForecastTask) and None in features[0].shape[1:3]:
        raise InputError(
            "A forecaster needs frames of one size (pipelines.prepare --size=[height,width]). "
            f"Received: frames {features[0].shape[1:]}"
        )
    for split, dataset in clips.items() if is_classifier(recipe) else ():
        if isinstance(recipe.task, ClassifyTask):
            check_elements(dataset, features, recipe.task)
        check_labels(dataset, split, recipe.model["classes"], getattr(recipe.task, "labels", "video"))
    doubled = getattr(recipe.training, "reverse_input", False)
    return features, steps * (2 if doubled else 1)


def features_of(recipe: Recipe, split):
    """`FeatureSpec`s of what the recipe's model sees of its data set, a tuple."""
    dataset, options = dataset_of(recipe, split), {**recipe.data, "num_frames": frames_of(recipe.task)}
    streams = tuple(feature_spec(dataset, **options, stream=stream) for stream in streams_of(recipe.task))
    return streams + ((LENGTH,) if "length" in dataset.element_spec else ())


def streams_of(task):
    return getattr(task, "streams", ("video",))


def frames_of(task):
    """Frames of a video that a task needs."""
    if isinstance(task, ClassifyTask):
        return (task.clip_frames - 1) * task.frame_stride + 1
    return task.context_frames + task.horizon_frames


def check_labels(clips, split, classes, of="video"):
    """Raises InputError unless every clip has a label in 0..classes - 1, or one for each of its frames."""
    if "label" not in clips.element_spec:
        raise InputError(
            "A classifier needs a data set with labels, such as left_right, moving_shapes, ut_interaction, or records "
            f"with labels. Received: {sorted(clips.element_spec)}"
        )
    if of == "several":  # the data set itself sees to it that they are 0, 1 or -1
        count = clips.element_spec["label"].shape[-1]
        if count != classes:
            raise InputError(f"Videos have labels of {count} classes. Received: --model.classes={classes}")
        return
    for label in clips.map(lambda clip: clip["label"]).as_numpy_iterator():
        if of == "frames":
            if label.shape[-1] != classes or not np.isin(label, (-1, 0, 1)).all():
                raise InputError(
                    f"Labels of frames must be 0, 1 or -1 (unknown), {classes} a frame (--model.classes={classes}). "
                    f"Received: {label.min()} to {label.max()}, {label.shape[-1]} a frame in {split}"
                )
            continue
        if label.ndim:
            raise InputError(f"A classifier needs one label a video. Received: several, shape={label.shape} in {split}")
        if not 0 <= label < classes:
            raise InputError(
                f"Labels must lie in 0..{classes - 1} (--model.classes={classes}). Received: {label} in {split}"
            )


def build_model(recipe: Recipe, features):
    """The recipe's model, seeded and built for clips like `features`."""
    keras.utils.set_random_seed(recipe.training.seed)
    classifies, shapes = isinstance(recipe.task, ClassifyTask), {spec.name: spec.shape for spec in features}
    if classifies:
        recipe = dataclasses.replace(recipe, task=recipe.task.fitted(features))
        shapes = recipe.task.clip_shapes(features)
    try:
        model = recipe.build()
        model.build({name: (None, *shape) for name, shape in shapes.items()})
    except ValueError as error:
        raise InputError(saved.own_words(error)) from error
    if classifies:
        gives = "frames" if model.average is None else "several" if model.multi_label else "video"
        if gives != recipe.task.labels:
            told = {"video": "one class a video", "several": "several classes a video", "frames": "classes of frames"}
            raise InputError(
                f"{recipe.system} gives {told[gives]} (--task.labels={gives}). Received: {recipe.task.labels}"
            )
        if LENGTH in features:
            check_padding(model)
        return model
    training, needed = recipe.training, make_policy(recipe.training.rollout).input_names
    if features[0].missing and not model.reads_missing:
        raise InputError(f"{recipe.data['name']} has missing cells (take radar_nowcast). Received: {recipe.system}")
    if features[0].missing and training.loss not in KNOW_MISSING:
        raise InputError(f"Of missing cells know the losses {', '.join(KNOW_MISSING)}. Received: {training.loss}")
    if training.loss.endswith("binary_crossentropy") and model.activation != "sigmoid":
        raise InputError(
            "Cross-entropy needs forecasts in 0..1 (--model.activation=sigmoid). "
            f"Received: model.activation={model.activation}"
        )
    outputs = model.compute_output_shape({"video": (None, *features[0].shape)})
    for weight, output, option in (
        ("context_loss_weight", "context_frames", "--model.predict_context=true"),
        ("decoupling_weight", "decoupling", "--model.decoupling=true of pred_rnn"),
    ):
        if getattr(training, weight) and output not in outputs:
            raise InputError(
                f"`{weight}` needs a model that returns `{output}` ({option}). "
                f"Received: training.{weight}={getattr(training, weight)}"
            )
    if not needed <= model.input_names:
        raise InputError(
            f"This rollout needs a model that reads {sorted(needed)}: --model.forecaster=shared or, for all "
            "policies but reverse, conditioned. "
            f"Received: training.rollout.policy={training.rollout.policy}"
        )
    return model


def check_targets(recipe: Recipe, model, features):
    """Raises InputError where a forecaster's frames have other channels than the data set's densities."""
    maps = dataset_of(recipe, "validation").element_spec.get("density")
    if maps is None or isinstance(recipe.task, ClassifyTask):
        return
    channels = model.compute_output_shape({"video": (None, *features[0].shape)})["frames"][-1]
    if channels != maps.shape[-1]:
        raise InputError(
            f"{recipe.data['name']} has densities of {maps.shape[-1]} channel, which hurricane_tracking and "
            f"hurricane_forecasting give. Received: system={recipe.system}, {channels} channels"
        )


def check_padding(model):
    """Raises InputError for a model that does not take padded clips: it says so when called with a mask."""
    clips = {
        name: np.zeros([1, *(size or 1 for size in shape)], "float32") for name, shape in model.input_shapes.items()
    }
    try:
        model({**clips, LENGTH.name: np.zeros([1], LENGTH.dtype)})
    except ValueError as error:
        raise InputError(saved.own_words(error)) from error


def fit(recipe: Recipe, model, features, steps, run: pathlib.Path):
    """Trains a built model, from the run's last checkpoint where there is one."""
    training = recipe.training
    told = {"features": [dataclasses.asdict(feature) for feature in features], **told_of(recipe)}
    (run / "features.json").write_text(json.dumps(told, indent=1) + "\n")
    compile_model(model, training, steps)
    weight = forecast_weight(training) if isinstance(training, ForecastTraining) else None
    checkpoint = Checkpoint(run / "checkpoint")
    first_epoch = checkpoint.restore(model)
    if first_epoch == training.epochs:
        return
    model.fit(
        with_all_targets(training_batches(recipe, features, first_epoch, steps), model),
        initial_epoch=first_epoch,
        epochs=training.epochs,
        steps_per_epoch=steps,
        validation_data=with_all_targets(batches_of(recipe, features, "validation"), model),
        callbacks=[
            *([] if weight is None else [LogWeight(weight, steps)]),
            *progress_callbacks(run, first_epoch),
            checkpoint,
        ],
        shuffle=False,  # the data set has its own order
        verbose=1 if sys.stdout.isatty() else 2,
    )


def told_of(recipe: Recipe):
    """What is written beside a model about its task: the horizon of a forecaster, the names of the classes."""
    if not isinstance(recipe.task, ClassifyTask):
        return {"horizon_frames": recipe.task.horizon_frames}
    return {"classes": names_of_classes(recipe), "multi_label": recipe.task.multi_label}


def names_of_classes(recipe: Recipe):
    """Names of the classes that the model tells apart: the data's, else numbers; None of a model that has none."""
    if not is_classifier(recipe):
        return None
    count, names = recipe.model["classes"], class_names(**recipe.data)
    return list(names) if names and len(names) == count else [str(n) for n in range(count)]


def dataset_of(recipe: Recipe, split, **options):
    """The recipe's data set; generators make clips as long as the task needs."""
    data = {name: value for name, value in recipe.data.items() if name != "name"}
    taken = inspect.signature(DATASETS[recipe.data["name"]]).parameters
    frames = frames_of(recipe.task)
    options = {"seed": recipe.training.seed, "num_frames": frames, "min_frames": frames, "encoded": True, **options}
    if isinstance(recipe.task, ClassifyTask):
        options["min_frames"] = 1  # videos that are too short start over
        options |= {"max_frames": recipe.task.clip_frames, "classes": recipe.model["classes"]}  # of padded videos
    else:
        options["context_frames"] = recipe.task.context_frames
    return make_dataset(recipe.data["name"], split, **data, **{k: v for k, v in options.items() if k in taken})


def batches_of(recipe: Recipe, features, split):
    """Validation or test batches, in order; of a classifier the first test view of every video."""
    if isinstance(recipe.task, ClassifyTask):
        task = dataclasses.replace(recipe.task, test_clips=1, test_crops=1)
        return view_batches(dataset_of(recipe, split), features, task, recipe.training.batch_size).map(first_view)
    clips, labelled = dataset_of(recipe, split), is_classifier(recipe)
    batches = forecast_batches(clips, features[0], recipe.task, recipe.training.batch_size, labelled=labelled)
    return with_other_targets(batches, recipe.training)


def is_classifier(recipe: Recipe):
    """Whether the system's model also returns `logits`: its builder then takes `classes`."""
    return "classes" in inspect.signature(recipe.builder).parameters


def with_other_targets(batches, training: ForecastTraining):
    """Targets of the losses beside the forecast's."""
    if training.context_loss_weight:
        batches = add_context_targets(batches)
    return add_decoupling_targets(batches) if training.decoupling_weight else batches


def with_all_targets(batches, model):
    """The label of a clip for every output of a classifier: Keras wants a target for all."""
    names = getattr(model, "returned", ("logits",))
    return batches if len(names) == 1 else batches.map(lambda x, y: (x, dict.fromkeys(names, y["logits"])))


def training_batches(recipe: Recipe, features, first_epoch, steps):
    """Endless only in name: every epoch from `first_epoch` on, each with its own order, as one data set."""
    training, task = recipe.training, recipe.task

    def one_epoch(epoch):
        clips = dataset_of(recipe, "train", epoch=epoch)
        window_seed = tf.cast(training.seed, tf.int64) * 1_000_003 + epoch
        if isinstance(task, ClassifyTask):
            return training_clips(clips, features, task, training.batch_size, window_seed)
        options = {"reverse_input": training.reverse_input, "labelled": is_classifier(recipe)}
        return forecast_batches(clips, features[0], task, training.batch_size, window_seed, **options)

    one_epoch = tf.autograph.experimental.do_not_convert(one_epoch)  # it reads files
    batches = tf.data.Dataset.range(first_epoch, training.epochs).flat_map(one_epoch)
    if isinstance(task, ClassifyTask):
        return batches.prefetch(tf.data.AUTOTUNE)
    left = (training.epochs - first_epoch) * steps
    batches = add_rollout(batches, make_policy(training.rollout), task, first_epoch * steps, left, training.seed)
    batches = with_other_targets(batches, training)
    if (weight := forecast_weight(training)) is not None:
        batches = add_forecast_weight(batches, weight, first_epoch * steps, left)
    return batches.prefetch(tf.data.AUTOTUNE)


def forecast_weight(training: ForecastTraining):
    """The schedule of the weight of the losses on frames, None where it is always 1."""
    if (training.forecast_weight, training.forecast_weight_decay) == (1.0, 0.0):
        return None
    return LinearlyDecayedWeight(
        training.forecast_weight, training.forecast_weight_decay, training.forecast_weight_floor
    )


def compile_model(model, training: Training, steps):
    """Optimizer, losses and metrics of a model of either task."""
    (compile_classifier if isinstance(model, ClipClassifier) else compile_forecaster)(model, training, steps)
    model.optimizer.build(model.trainable_variables)  # before the first step, which is then traced once, not twice


# Features


def extract(recipe: Recipe, model, features, folder):
    """Writes what the model's networks of frames give for every frame of every split into shards; returns their names.

    float16, a name a layer that is read: `features` (of flow `flow_features`), of several layers their own names.
    """
    if not isinstance(model, ClipClassifier) or None in (
        model.part("backbone", name) for name in streams_of(recipe.task)
    ):
        raise InputError(f"--extract is of a system with networks of frames. Received: {recipe.system}")
    if pathlib.Path(folder).exists():
        raise InputError(f"Nothing is overwritten; what --extract names must not exist. Received: --extract={folder}")
    for stream in recipe.task.streams:
        option = "flow_weights" if stream == "flow" else "weights"
        if recipe.model.get(option) is None:
            raise InputError(f"Features are those of a trained network: --model.{option}=FILE. Received: {option}=None")
    task, names = recipe.task.fitted(features), []
    for stream in task.streams:
        network, prefix = model.part("backbone", stream), "" if stream == "video" else f"{stream}_"
        if not isinstance(network, FrameWise):
            raise InputError(f"--extract is of systems that see frame by frame. Received: {recipe.system}")
        taps = network.layer.output_names
        names += [prefix + (tap if len(taps) > 1 else "features") for tap in taps]

    def clips(split):
        for clip in whole_videos(dataset_of(recipe, split, shuffle=False), features, task):
            seen = {name: model.part("preprocessing", name)(clip[name][None]) for name in task.streams}  # whole videos
            parts = []
            for n in range(0, len(clip[task.streams[0]]), EXTRACTED_FRAMES):
                given = [model.part("backbone", name)(x[:, n : n + EXTRACTED_FRAMES]) for name, x in seen.items()]
                parts.append([np.asarray(x[0], "float16") for x in tree.flatten(given)])
            label = clip["label"].numpy()
            arrays = {name: np.concatenate(part) for name, part in zip(names, zip(*parts))}
            yield {**arrays, "id": clip["id"].numpy(), "label": label if label.ndim else int(label)}

    for split in ("train", "validation", "test"):
        write_shards(clips(split), folder, split, classes=names_of_classes(recipe))
    return names


# Results


def new_run(parent: pathlib.Path):
    """A new folder `<parent>/<UTC time>[-n]`."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    for n in range(1, 1000):
        run = parent / (stamp if n == 1 else f"{stamp}-{n}")
        try:
            run.mkdir(parents=True)
            return run
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"`--runs` must be a folder that can be written. Received: {error}") from error
    raise InputError(f"No free run folder. Received: {parent / stamp}")


def finish(recipe: Recipe, run, model, features, saved_models):
    """Saves, scores on the test split and exports."""
    partial = run / "partial.keras"
    model.save(partial)
    os.replace(partial, run / "model.keras")
    trained = saved.load(run)
    score = evaluate_classes.score_classes if isinstance(recipe.task, ClassifyTask) else evaluate.score
    evaluation = score(trained, evaluate.next_folder(trained))
    (run / "metrics.json").write_bytes((evaluation / "metrics.json").read_bytes())
    served = None
    if keras.backend.backend() == "tensorflow":
        from keras_st.serving import export

        served = str(export(model, saved_models, recipe, features=features, classes=names_of_classes(recipe)))
        print(f"served model: {served}")
    else:
        print(f"not exported: export needs the TensorFlow backend; `evaluate.py` reads {run}")
    done = {"evaluation": str(evaluation), "served_model": served}
    (run / "done.json").write_text(json.dumps(done, indent=1) + "\n")
    print(f"report: {evaluation / 'report.html'}")


if __name__ == "__main__":
    cli.run(main)
