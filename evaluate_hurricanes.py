"""Scores hurricanes found in fields, and tracks forecast: what `evaluate.py` does with the data sets of hurricanes."""

import inspect

import numpy as np

from evaluate_classes import recipe_beside
from keras_st import cli, viz_tracks
from keras_st.metrics import tracks
from keras_st.metrics.nowcast import Reliability
from keras_st.reports import hurricanes as report
from keras_st.reports.files import plain, write_evaluation
from keras_st.specs import InputError
from keras_st.tracking import decode
from pipelines.datasets import hurricane
from pipelines.datasets.hurdat2 import STEP_HOURS

THRESHOLD, RADIUS_KM = 0.5, 200.0  # of a density whose parts are storms; of a pair found and true
WIND = hurricane.CHANNELS["U850"][2]  # m/s that is 1, and with the other sign 0
SHOWN = 4  # frames or storms drawn in the report
AT_ONCE = 16  # clips
BINS = 10  # of densities, in the diagram of their reliability


def score_tracking(forecaster, out, horizon=None):
    """Scores the densities of a tracker on the test clips of `hurricane`; writes tables, pictures, report."""
    recipe = checked(forecaster, horizon, "hurricane_tracking")
    known = inspect.signature(hurricane.clips).parameters
    options = {name: value for name, value in recipe.data.items() if name in known}
    options |= {"num_frames": recipe.task.context_frames, "seed": recipe.training.seed}
    clips, tuning = (hurricane.clips(split, **options) for split in ("test", "validation"))
    density, axes = outputs(forecaster, clips.fields, 0), (clips.latitudes, clips.longitudes)
    found, true = found_in(density, axes), clips.true_centres()
    scores = report.summarise_tracking(found, true, density, clips.density[..., 0], THRESHOLD, RADIUS_KM)
    level = best_level(tuning)
    rule = by_vorticity(clips, level)
    trivial = report.summarise_tracking(found_in(rule, axes), true, rule, clips.density[..., 0], THRESHOLD, RADIUS_KM)
    result = heading(recipe, forecaster) | {"clips": len(density), "frames": density.shape[1], "tracking": scores}
    result["vorticity_rule"] = {"least_per_second": level, **trivial}
    reliability = reliability_of(density, clips.density[..., 0])
    result["reliability"] = {name: plain(x) for name, x in reliability._asdict().items()}
    most = sorted(range(len(true)), key=lambda n: -len(true[n][-1]))[: SHOWN - 1]
    quiet = [n for n in range(len(true)) if not any(map(len, true[n]))][:1]

    def draw(folder):
        for n in most + quiet:
            frame = clips.fields[n, -1]
            wind = np.hypot(*(2 * np.moveaxis(frame[..., 1:3], -1, 0) - 1)) * WIND
            fields = {"pressure (PSL, scaled)": frame[..., 0], "wind at 850 hPa (m/s)": wind}
            fields |= {"rain (PRECT, scaled)": frame[..., 3], "humidity (QREFHT, scaled)": frame[..., 5]}
            title = f"clip {n}, last frame: {len(true[n][-1])} hurricanes, {len(found[n][-1])} found"
            maps = clips.density[n, -1, ..., 0], density[n, -1], true[n][-1], found[n][-1]
            viz_tracks.detections(fields, *maps, *axes, title).savefig(folder / f"clip_{n}.png")
            yield title, f"clip_{n}.png"
        viz_tracks.reliability_curve(reliability).savefig(folder / "reliability.png")
        yield "Reliability of the density: mean of the true one by the model's", "reliability.png"

    return write(out, recipe, result, report.write_tracking, draw, forecaster)


def reliability_of(density, truth):
    """`Reliability` of a density: means of the true one and of the model's, in bins of the model's, and pixels."""
    place = np.minimum((BINS * density).astype(int), BINS - 1).ravel()
    cells = np.bincount(place, minlength=BINS)
    means = (np.bincount(place, np.ravel(x), BINS) / np.where(cells, cells, np.nan) for x in (truth, density))
    return Reliability(*means, cells)


def found_in(density, axes):
    """Centres (M_t, 2) of every frame of every clip."""
    return [[tracks.centres(frame, *axes, THRESHOLD) for frame in clip] for clip in density]


def by_vorticity(clips, level):
    """What a rule without a model gives for a density: `THRESHOLD` where the wind turns as fast as `level`, 1/s."""
    u, v = (limit * (2.0 * clips.fields[..., n] - 1) for n, limit in ((1, WIND), (2, WIND)))
    metres = 1000 * tracks.KM_PER_DEGREE
    east = np.gradient(v, metres * clips.longitudes, axis=3) / np.cos(np.radians(clips.latitudes))[:, None]
    turning = (east - np.gradient(u, metres * clips.latitudes, axis=2)) * np.sign(clips.latitudes)[:, None]
    return np.clip(THRESHOLD * turning / level, 0, 1)


def best_level(clips):
    """Of the rule, the one with the highest F1 on these clips."""
    levels = np.geomspace(3e-5, 6e-4, 14).tolist()
    axes, true = (clips.latitudes, clips.longitudes), sum(clips.true_centres(), [])

    def f1(level):
        return tracks.detection_scores(sum(found_in(by_vorticity(clips, level), axes), []), true, RADIUS_KM)["f1"]

    return max(levels, key=f1)


def score_forecasts(forecaster, out, horizon=None):
    """Scores forecast tracks on the test pieces of `hurricane_tracks`; writes tables, pictures, report."""
    import train

    recipe = checked(forecaster, horizon, "hurricane_forecasting")
    context, leads = recipe.task.context_frames, np.arange(1, recipe.task.horizon_frames + 1)
    track, storms, ours, squared = [], [], [], []
    for batch in train.dataset_of(recipe, "test").batch(AT_ONCE):
        video = batch["video"].numpy()
        maps = outputs(forecaster, video[:, :context], len(leads))
        truth = video[:, context:, ..., 0]
        squared.append([((x - truth) ** 2).mean(axis=(2, 3)) for x in (maps, video[:, context - 1 : context, ..., 0])])
        for clip, density in zip(video.astype(np.float64), maps):
            ours.append(decode(density, 180 * clip[0, :, 0, 1] - 90, 1080 * clip[0, 0, :, 2] - 540))
        track.append(batch["track"].numpy().astype(np.float64))
        storms += [name.decode().split("/")[0] for name in batch["id"].numpy()]
    track, storms = np.concatenate(track), np.array(storms)
    past, truth = track[:, :context], track[:, context:]
    forecasts = {
        recipe.system: np.array(ours),
        "constant_velocity": tracks.constant_velocity(past, leads),
        "persistence": tracks.persistence(past, leads),
    }
    table, left = report.summarise_forecasts(forecasts, truth, storms, recipe.system)
    for name, values in zip((recipe.system, "persistence"), np.concatenate(squared, axis=1)):
        table[name]["density_mse"] = values.mean(axis=0).tolist()
    result = heading(recipe, forecaster) | {
        "source": "HURDAT2, seasons 2015 to 2018" if recipe.data.get("root") else "generated",
        "pieces": len(track) - left,
        "storms": len(np.unique(storms)),
        "left_grid": left,
        "context_frames": context,
        "hours": (STEP_HOURS * leads).tolist(),
        "tracks": table,
    }

    def draw(folder):
        curves = {name: (entry["mean_km"], entry["interval_95"]) for name, entry in table.items()}
        viz_tracks.error_curves(result["hours"], curves).savefig(folder / "errors.png")
        yield "Mean error by lead time, 95 % interval over storms", "errors.png"
        last = [tracks.great_circle_km(*x[:, -1].T, *truth[:, -1].T) for x in forecasts.values()]
        order = np.argsort(last[0])
        order = order[np.isfinite(last[0][order])]
        for n, (place, word) in enumerate(
            ((0.1, "a good"), (0.5, "a middling"), (0.9, "a poor"), (1.0, "the worst"))[:SHOWN]
        ):
            chosen = order[min(int(place * len(order)), len(order) - 1)]
            drawn = {name: x[chosen] for name, x in forecasts.items() if name != "persistence"}
            errors = {name: km[chosen] for name, km in zip(forecasts, last)}
            title = f"Storm {storms[chosen]}: {word} forecast"
            figure = viz_tracks.track_map(past[chosen], truth[chosen], drawn, result["hours"], errors, title)
            figure.savefig(folder / f"track_{n + 1}.png")
            yield title, f"track_{n + 1}.png"

    return write(out, recipe, result, report.write_forecasts, draw, forecaster)


def checked(forecaster, horizon, system):
    """The recipe of a forecaster of this system, with the horizon asked for."""
    if (forecaster.recipe or {}).get("system") != system:
        name = (forecaster.recipe or {}).get("data", {}).get("name")
        raise InputError(f"Data of {name} are scored for {system}. Received: {forecaster.recipe['system']}")
    return recipe_beside(forecaster, horizon_frames=forecaster.horizon_frames if horizon is None else horizon)


def outputs(forecaster, clips, horizon):
    """Densities (N, S, H, W) of scaled clips, checked and cut to 0..1."""
    maps = forecaster.outputs(clips, horizon, AT_ONCE)["frames"][..., 0]
    if not np.isfinite(maps).all():
        raise InputError(f"The model gives densities that are not finite. Received: {forecaster.path}")
    return np.clip(maps, 0.0, 1.0)


def heading(recipe, forecaster):
    told = {"system": recipe.system, "data": recipe.data, "split": "test", "loss": recipe.training.loss}
    return {**told, "seed": recipe.training.seed, **cli.provenance(forecaster.path)}


def write(out, recipe, result, write_tables, draw, forecaster):
    """The folder of an evaluation; prints its table."""

    def write_all(folder):
        write_tables(folder, result)
        return draw(folder)

    return write_evaluation(out, result, write_all, forecaster.path.parent)
