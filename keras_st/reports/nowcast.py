"""Scores of forecasts of rain, event by event: sums, tables, pictures."""

import csv

import numpy as np

from keras_st.metrics.nowcast import THRESHOLDS, NowcastScores, fss, power_spectrum
from keras_st.reports.files import plain
from keras_st.viz import new_figure

LARGEST_LEAD = 60  # minutes: means are over the lead times up to it
TOLD_LEADS = (30, 60)  # minutes at which fractions skill scores and spectra are told
SCALES = (1, 4, 16, 64)  # pixels
OF_THRESHOLDS, OF_LEADS = ("csi", "pod", "far", "hss", "gss", "bias"), ("mae", "mse", "correlation")
SHOWN_LEADS = (5, 15, 30, 45, 60)  # minutes, of the maps
RATES = (0.1, 0.5, 1, 2, 5, 10, 20, 50, 100)  # mm/h between the colours of the maps
COLOURS = ("white", "#c6dbef", "#6baed6", "#2171b5", "#31a354", "#fee391", "#fe9929", "#e31a1c", "#ae017e", "#49006a")


class EventScores:
    """Scores of several forecasts of the windows of one event.

    Args: event: name; step_minutes: from field to field; horizon: number of lead times; names: of the forecasts.
    """

    def __init__(self, event, step_minutes, horizon, names):
        self.event, self.step_minutes = event, step_minutes
        self.lead_minutes = [round(step_minutes * (n + 1), 2) for n in range(horizon)]
        self.near = max(sum(minutes <= LARGEST_LEAD for minutes in self.lead_minutes), 1)
        self.scores = {name: NowcastScores(THRESHOLDS, horizon) for name in names}
        self.told = sorted({self.nearest(minutes) for minutes in TOLD_LEADS})
        self.kept = {name: [] for name in ("truth", *names)}  # fields at those leads
        self.shown, self._wettest = None, -1.0

    def nearest(self, minutes):
        """Index of the lead time nearest to so many minutes."""
        return int(np.argmin(np.abs(np.array(self.lead_minutes) - minutes)))

    def update(self, last, truth, forecasts):
        """Adds windows: the last fields seen (B, H, W), truth and every forecast (B, T, H, W), mm/h, NaN missing."""
        for name, forecast in forecasts.items():
            self.scores[name].update(truth, forecast)
        for name, fields in (("truth", truth), *forecasts.items()):
            self.kept[name].append(fields[:, self.told].astype("float32"))
        wet = np.nanmean(np.where(np.isnan(truth), 0, truth), axis=(1, 2, 3))
        if wet.max() > self._wettest:  # the wettest window is shown
            n, self._wettest = int(wet.argmax()), wet.max()
            self.shown = last[n], truth[n], {name: forecast[n] for name, forecast in forecasts.items()}

    def summary(self, system, resamples=500):
        """Plain values: of every forecast its scores by threshold and lead time, means and 95 % bootstrap intervals.

        Windows are drawn anew, the same of all forecasts: `above` holds the interval of the difference to each.
        Windows of an event overlap in time, so intervals are narrower than those of as many events would be.
        """
        windows = len(next(iter(self.scores.values())).counts)
        rows = np.random.default_rng(0).integers(0, windows, (resamples, windows))
        drawn = {name: [self._means(scores, row) for row in rows] for name, scores in self.scores.items()}
        forecasts = {}
        for name, scores in self.scores.items():
            result, means = scores.result(), self._means(scores)
            table = {key: plain(result[key]) for key in (*OF_THRESHOLDS, *OF_LEADS)}
            table |= {f"{key}_mean": plain(means[key]) for key in means}
            table |= {f"{key}_interval_95": interval([draw[key] for draw in drawn[name]]) for key in means}
            forecasts[name] = table | {"fss": self._fractions(name)}
        above = {}
        for name in (name for name in drawn if name != system):
            pairs = list(zip(drawn[system], drawn[name]))
            above[name] = {key: interval([ours[key] - theirs[key] for ours, theirs in pairs]) for key in pairs[0][0]}
        return {
            "step_minutes": self.step_minutes,
            "windows": windows,
            "lead_minutes": self.lead_minutes,
            "means_over_minutes": self.lead_minutes[self.near - 1],
            "forecasts": forecasts,
            "above": above,
        }

    def _means(self, scores, windows=None):
        """Mean CSI of each threshold (thresholds,) and MAE () over the near lead times.

        CSI over those at which the event was seen: the same of all forecasts.
        """
        counts = scores.counts if windows is None else scores.counts[windows]
        seen = (counts[..., 0] + counts[..., 2]).sum(axis=0) > 0  # hits and misses
        result = scores.result(windows)
        csi = np.where(seen, result["csi"], np.nan)
        return {"csi": nanmean(csi[:, : self.near]), "mae": nanmean(result["mae"][: self.near])}

    def _fractions(self, name):
        """`{minutes: {threshold: [FSS of every scale]}}`."""
        truth, forecast = (np.concatenate(self.kept[key]) for key in ("truth", name))
        return {
            f"{self.lead_minutes[lead]:g}": {
                f"{threshold:g}": [plain(fss(truth[:, n], forecast[:, n], threshold, scale)) for scale in SCALES]
                for threshold in THRESHOLDS[:2]
            }
            for n, lead in enumerate(self.told)
        }

    def spectra(self):
        """`(minutes, {name: Spectrum})` at the last lead time told, mean over windows, missing cells dry."""
        found, missing = {}, np.isnan(np.concatenate(self.kept["truth"])[:, -1])
        for name, parts in self.kept.items():
            spectrum = power_spectrum(np.where(missing, 0, np.concatenate(parts)[:, -1]))
            found[name] = spectrum._replace(power=spectrum.power.mean(axis=0))
        return self.lead_minutes[self.told[-1]], found


def nanmean(values):
    """Mean over the last axis of what is defined, NaN where nothing is."""
    values = np.asarray(values)
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    return np.where(count, np.where(defined, values, 0).sum(axis=-1) / np.maximum(count, 1), np.nan)


def interval(draws):
    """95 % percentile interval of draws (N, ...): lows and highs, None where a draw is not defined."""
    draws = np.asarray(draws, float)
    whole = np.isfinite(draws).all(axis=0)
    low, high = np.quantile(np.where(np.isfinite(draws), draws, 0), [0.025, 0.975], axis=0)
    return [plain(np.where(whole, bound, np.nan)) for bound in (low, high)]


def event_rows(event, summary, system, rule):
    """What is stored of one event: scores of the forecast by threshold and lead time beside the baselines'.

    `fss` is by forecast, minutes, threshold and scale in pixels (`SCALES`).
    """
    ours, last, moved = (summary["forecasts"][name] for name in (system, "persistence", "extrapolation"))
    return {
        "event": event,
        "rule": rule,
        "step_minutes": summary["step_minutes"],
        "windows": summary["windows"],
        "threshold": list(THRESHOLDS),
        "lead_minutes": summary["lead_minutes"],
        "csi": ours["csi"],
        "csi_persistence": last["csi"],
        "csi_extrapolation": moved["csi"],
        "mae": ours["mae"],
        "mae_persistence": last["mae"],
        "mae_extrapolation": moved["mae"],
        "means_over_minutes": summary["means_over_minutes"],
        "mean": {
            name: {key: scores[key] for key in ("csi_mean", "csi_interval_95", "mae_mean", "mae_interval_95")}
            for name, scores in summary["forecasts"].items()
        },
        "fss": {name: scores["fss"] for name, scores in summary["forecasts"].items()},
        "above": summary["above"],
    }


def write_tables(folder, result):
    """metrics.csv (a row per event, forecast, score, threshold and lead time) and metrics.md."""
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["event", "forecast", "score", "threshold", "lead_minutes", "value"])
        for event, found in result["events"].items():
            for name, scores in found["forecasts"].items():
                for key in OF_THRESHOLDS:
                    for threshold, values in zip(THRESHOLDS, scores[key]):
                        for minutes, value in zip(found["lead_minutes"], values):
                            writer.writerow([event, name, key, threshold, minutes, value])
                for key in OF_LEADS:
                    for minutes, value in zip(found["lead_minutes"], scores[key]):
                        writer.writerow([event, name, key, "", minutes, value])
    lines = [f"Rain forecast by {result['system']}. {result['rule']}", ""]
    for event, found in result["events"].items():
        lines += [
            f"{event}: {found['windows']} windows, {found['step_minutes']:g} minutes from field to field. "
            f"Means over lead times to {found['means_over_minutes']:g} minutes, 95 % bootstrap interval over windows, "
            "which overlap: CSI by threshold in mm/h, MAE in mm/h.",
            "",
            "| forecast | " + " | ".join(f"CSI {threshold:g}" for threshold in THRESHOLDS) + " | MAE |",
            "|---|" + "---|" * (len(THRESHOLDS) + 1),
        ]
        for name, scores in found["forecasts"].items():
            cells = [
                _cell(value, low, high) for value, low, high in zip(scores["csi_mean"], *scores["csi_interval_95"])
            ]
            cells.append(_cell(scores["mae_mean"], *scores["mae_interval_95"]))
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        for at, threshold in enumerate(THRESHOLDS[:2]):
            minutes = " | ".join(f"{m:g}" for m in found["lead_minutes"])
            columns = "---|" * len(found["lead_minutes"])
            lines += ["", f"| CSI at {threshold:g} mm/h, minutes | {minutes} |", "|---|" + columns]
            for name, scores in found["forecasts"].items():
                lines.append(f"| {name} | " + " | ".join(_number(value) for value in scores["csi"][at]) + " |")
        for minutes in next(iter(found["forecasts"].values()))["fss"]:
            scales = " | ".join(f"{t:g} mm/h, {scale} px" for t in THRESHOLDS[:2] for scale in SCALES)
            lines += ["", f"| FSS at {minutes} minutes | {scales} |", "|---|" + "---|" * (2 * len(SCALES))]
            for name, scores in found["forecasts"].items():
                values = [value for row in scores["fss"][minutes].values() for value in row]
                lines.append(f"| {name} | " + " | ".join(_number(value) for value in values) + " |")
        lines.append("")
    (folder / "metrics.md").write_text("\n".join(lines) + "\n")


def _number(value):
    return "–" if value is None else f"{value:.3f}"


def _cell(value, low, high):
    return _number(value) + (f" [{low:.3f}, {high:.3f}]" if None not in (value, low, high) else "")


# Pictures


def draw_event(folder, scores: EventScores, summary, rule):
    """Maps, CSI by lead time and spectra of an event; `[(caption, file)]`."""
    event, forecasts = scores.event, summary["forecasts"]
    minutes, spectra = scores.spectra()
    leads = sorted({scores.nearest(lead) for lead in SHOWN_LEADS})
    last, truth, shown = scores.shown
    maps = rain_maps(last, {"truth": truth, **shown}, scores.lead_minutes, leads)
    figures = [("rain", "Rain in mm/h, the wettest window (grey: missing)", maps)]
    if any(value for entry in forecasts.values() for row in entry["csi"] for value in row):  # else there is no curve
        figures += [
            ("csi", "CSI by lead time", csi_curves(summary["lead_minutes"], forecasts)),
            ("spectrum", f"Power by wavelength at {minutes:g} minutes, mean of windows", spectrum_curves(spectra)),
        ]
    pictures = []
    for kind, caption, figure in figures:
        figure.savefig(folder / f"{kind}_{event}.png")
        pictures.append((f"{event}: {caption}. {rule}", f"{kind}_{event}.png"))
    return pictures


def rain_maps(last, rows, lead_minutes, leads):
    """The last field (H, W), then a row for each of `{name: (T, H, W)}`, a column for each of `leads` of T. mm/h."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    colours = ListedColormap(COLOURS).with_extremes(bad="lightgrey", under=COLOURS[0], over=COLOURS[-1])
    norm = BoundaryNorm(RATES, len(COLOURS), extend="both")
    figure = new_figure(1.5 * (len(leads) + 1) + 0.8, 1.5 * len(rows) + 0.3)
    for r, (name, fields) in enumerate(rows.items()):
        for c, lead in enumerate([None, *leads]):
            axes = figure.add_subplot(len(rows), len(leads) + 1, r * (len(leads) + 1) + c + 1)
            if r and lead is None:
                axes.axis("off")
                axes.text(0.95, 0.5, name.replace("_", "\n"), fontsize=7, ha="right", transform=axes.transAxes)
                continue
            field = last if lead is None else fields[lead]
            image = axes.imshow(np.ma.masked_invalid(field), cmap=colours, norm=norm, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            if not r:
                axes.set_title("now" if lead is None else f"+{lead_minutes[lead]:g} min", fontsize=7)
            if lead is None:
                axes.set_ylabel(name, fontsize=7)
    figure.subplots_adjust(left=0.06, right=0.86, top=0.93, bottom=0.02, wspace=0.05, hspace=0.05)
    bar = figure.colorbar(image, cax=figure.add_axes((0.88, 0.1, 0.015, 0.8)), ticks=RATES, spacing="uniform")
    bar.ax.set_yticklabels([f"{rate:g}" for rate in RATES], fontsize=6)
    bar.set_label("mm/h", fontsize=7)
    return figure


def csi_curves(lead_minutes, forecasts):
    """CSI by lead time, a panel a threshold that is ever reached."""
    reached = [n for n in range(len(THRESHOLDS)) if any(v for s in forecasts.values() for v in s["csi"][n])]
    figure = new_figure(2.6 * max(len(reached), 1), 2.6)
    for place, n in enumerate(reached):
        axes = figure.add_subplot(1, len(reached), place + 1)
        for name, scores in forecasts.items():
            values = np.array(scores["csi"][n], float)  # None becomes NaN
            axes.plot(lead_minutes, values, marker="o", markersize=2, label=name)
        axes.set_title(f"{THRESHOLDS[n]:g} mm/h", fontsize=8)
        axes.set_xlabel("lead time (minutes)", fontsize=7)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=6)
        axes.grid(alpha=0.3)
        if not place:
            axes.set_ylabel("CSI", fontsize=7)
            axes.legend(fontsize=6)
    figure.tight_layout()
    return figure


def spectrum_curves(spectra):
    """Power by wavelength: `{name: Spectrum}`."""
    figure = new_figure(4.5, 3.2)
    axes = figure.add_subplot()
    for name, spectrum in spectra.items():
        style = {"color": "black", "linewidth": 2} if name == "truth" else {}
        axes.loglog(1 / spectrum.frequency[1:], np.maximum(spectrum.power[1:], 1e-6), label=name, **style)
    axes.invert_xaxis()
    axes.xaxis.set_minor_formatter("")  # powers of ten only
    axes.set_xlabel("wavelength (pixels)")
    axes.set_ylabel("power ((mm/h)²)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    return figure
