"""What `evaluate.py` does with a forecaster of rain: scores by event, threshold and lead time, beside extrapolation."""

import importlib.util
import json

import keras
import numpy as np

from evaluate_classes import recipe_beside
from keras_st import cli, nowcast
from keras_st.flow import Extrapolation
from keras_st.reports import nowcast as report
from keras_st.reports.files import write_evaluation, write_report, written_aside
from keras_st.specs import InputError
from pipelines.build import with_root
from pipelines.datasets.radar import event_steps

RULE = (
    "Where rain would come from beyond the border or from a missing cell the last field stays; in forecasts named "
    "_dry it is dry there. (pysteps takes a missing cell for dry in both.) Cells without a measurement are not scored."
)
BATCH = 4  # windows at a time
MOTION = ("pairs", "smoothing", "floor")  # what a model and the baseline share
DTYPES = {"video": "float32", "mask": "bool"}


def score(forecaster, out, horizon=None):
    """Scores a model on the test events; writes tables, nowcast_<event>.json, pictures and report.html.

    Baselines on the same windows: `persistence`, the last field; `extrapolation`, which `keras_st.flow.Extrapolation`
    advects by the model's own motion, where it does not know the last field, and `extrapolation_dry`, there 0; where
    pysteps is installed, `pysteps` and `pysteps_dry`, its own (Lucas-Kanade motion) by the same two rules,
    but that it takes missing cells of its input for dry.
    """
    horizon = forecaster.horizon_frames if horizon is None else horizon
    recipe = recipe_beside(forecaster, horizon_frames=horizon)
    root, *step = (with_root(recipe.data)[name] for name in ("root", "step_minutes", "step_tolerance"))
    minutes = event_steps(root, "test", *step)
    motion = {name: recipe.model[name] for name in MOTION if name in recipe.model}
    baselines, events = make_baselines(horizon, **motion), {}
    for ids, context, truth in windows_of_test(recipe):
        forecasts = {recipe.system: forecaster.outputs(context, horizon, BATCH)["frames"]}
        forecasts |= baselines(context)
        if not np.isfinite(forecasts[recipe.system]).all():
            raise InputError(f"The model forecasts values that are not finite. Received: {forecaster.path}")
        for event in sorted(set(ids)):
            if event not in events:
                events[event] = report.EventScores(event, minutes[event], horizon, [*forecasts])
            rows = np.array(ids) == event
            fields = {name: np.asarray(frames)[rows][..., 0] for name, frames in forecasts.items()}
            events[event].update(context[rows, -1, ..., 0], truth[rows][..., 0], fields)
    result = {
        "system": recipe.system,
        "data": recipe.data,
        "split": "test",
        "context_frames": recipe.task.context_frames,
        "horizon_frames": horizon,
        "unit": forecaster.feature.unit,
        "rule": RULE,
        "seed": recipe.training.seed,
        "events": {event: scores.summary(recipe.system) for event, scores in events.items()},
    }
    told = cli.provenance(forecaster.path)

    def write(folder):
        report.write_tables(folder, result)
        pictures = []
        for event, scores in events.items():
            summary = result["events"][event]
            rows = {**report.event_rows(event, summary, recipe.system, RULE), **told}
            (folder / f"nowcast_{event}.json").write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n")
            pictures += report.draw_event(folder, scores, summary, RULE)
        return pictures

    return write_evaluation(out, {**result, **told}, write, forecaster.path.parent)


def predict(forecaster, clip_path, horizon, out):
    """Forecasts the fields after those of a .npy, (T, H, W) in mm/h, NaN missing; writes frames.npy, maps, report."""
    fields = np.load(clip_path, allow_pickle=False) if str(clip_path).endswith(".npy") else None
    if fields is None or fields.dtype.kind not in "uif":
        raise InputError(f"Fields of rain come as a .npy of numbers in mm/h. Received: --input={clip_path}")
    fields = fields[..., 0] if fields.ndim == 4 and fields.shape[-1] == 1 else fields
    minutes = (forecaster.recipe or {}).get("data", {}).get("step_minutes") or 1
    try:
        frames = nowcast.forecast(forecaster, fields, minutes, horizon)
    except InputError as error:
        raise InputError(f"{clip_path} cannot be forecast: {error}") from error
    with written_aside(out) as folder:
        np.save(folder / "frames.npy", frames)
        leads = np.unique(np.linspace(0, len(frames) - 1, 6).astype(int)).tolist()
        lead_minutes = [minutes * (n + 1) for n in range(len(frames))]
        figure = report.rain_maps(
            fields[-1], {"last": fields[-1:].repeat(len(frames), 0), "forecast": frames}, lead_minutes, leads
        )
        figure.savefig(folder / "rain.png")
        told = f"Rain in mm/h after {clip_path}, grey: missing. {RULE}"
        write_report(folder, f"Forecast of {len(frames)} fields", [(told, "rain.png")])
    print(f"frames: {out / 'frames.npy'} {frames.dtype} {frames.shape}, mm/h, NaN where the last field is missing")
    return out


def windows_of_test(recipe):
    """Batches of the test windows: names of their events, context and truth (B, T, H, W, 1), NaN where missing."""
    import train

    seen = recipe.task.context_frames
    for batch in train.dataset_of(recipe, "test").batch(BATCH).as_numpy_iterator():
        fields = np.where(batch["mask"], batch["video"], np.float32(np.nan))
        yield [name.decode().split("/")[0] for name in batch["id"]], fields[:, :seen], fields[:, seen:]


def make_baselines(horizon, **motion):
    """A function of contexts (B, T, H, W, 1), NaN where missing: `{name: forecast (B, horizon, H, W, 1) in mm/h}`.

    motion: options of `Extrapolation`.
    """
    fields = {name: keras.Input((None, None, None, 1), dtype=dtype, name=name) for name, dtype in DTYPES.items()}
    outputs = Extrapolation(horizon, **motion)(fields["video"], mask=fields["mask"])
    advection = keras.Model(fields, {"frames": outputs["frames"], "known": outputs["known"]})

    def forecasts(context):
        known, last = np.isfinite(context), np.nan_to_num(context[:, -1:])
        moved = advection.predict_on_batch({"video": np.where(known, context, 0), "mask": known})
        found = {
            "persistence": np.repeat(last, horizon, axis=1),
            "extrapolation": moved["frames"],
            "extrapolation_dry": np.where(moved["known"], moved["frames"], 0),
        }
        if importlib.util.find_spec("pysteps"):
            theirs = np.stack([nowcast.pysteps_extrapolation(window[..., 0], horizon) for window in context])[..., None]
            found |= {"pysteps": np.where(np.isnan(theirs), last, theirs), "pysteps_dry": np.nan_to_num(theirs)}
        return found

    return forecasts
