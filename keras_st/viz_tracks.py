"""Pictures of storms on maps: tracks, errors by lead time, what is found in fields. Arrays in, matplotlib figure out.

Positions are (..., 2), latitude and longitude in degrees. Maps are plain: no coasts are drawn, none are at hand.
"""

import numpy as np

from keras_st.viz import new_figure

COLOURS = ("tab:red", "tab:blue", "tab:gray", "tab:purple")


def track_map(past, truth, forecasts, hours, errors, title=""):
    """One storm: known fixes (T, 2), true ones (S, 2) and forecasts `{name: (S, 2)}` after `hours` (S,).

    errors: `{name: km at the last lead}`, for the legend. Forecasts start at the last known fix.
    """
    figure = new_figure(5.5, 4.2)
    axes = figure.add_subplot()
    lines = {"truth": (truth, "black", "-"), **{n: (x, c, "--") for (n, x), c in zip(forecasts.items(), COLOURS)}}
    axes.plot(past[:, 1], past[:, 0], "o-", color="0.6", markersize=3, label="known")
    for name, (places, colour, style) in lines.items():
        way = np.concatenate([past[-1:], places])
        label = f"{name}, {errors[name]:.0f} km off at {hours[-1]} h" if name in errors else name
        axes.plot(way[:, 1], way[:, 0], style, color=colour, marker="o", markersize=3, label=label)
        axes.annotate(
            f"{hours[-1]} h", way[-1, ::-1], color=colour, fontsize=6, xytext=(3, 3), textcoords="offset points"
        )
    _map(axes, np.concatenate([past, truth, *forecasts.values()]), least=8)
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=6)
    figure.tight_layout()
    return figure


def error_curves(hours, curves):
    """Mean error in km over lead times in hours: `{name: (values (S,), intervals (S, 2))}`, intervals shaded."""
    figure = new_figure(5, 3.2)
    axes = figure.add_subplot()
    for (name, (values, intervals)), colour in zip(curves.items(), COLOURS):
        low, high = np.transpose(intervals)
        axes.plot(hours, values, marker="o", markersize=3, color=colour, label=name)
        axes.fill_between(hours, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(hours)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("lead time (hours)")
    axes.set_ylabel("mean great-circle error (km)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    return figure


def detections(fields, truth, density, true, found, latitudes, longitudes, title=""):
    """One frame: maps `{name: (H, W)}`, then its true density and the model's (H, W), with centres true and found."""
    panels = {**fields, "density, true": truth, "density, model": density}
    rows = -(-len(panels) // 3)
    figure = new_figure(9, 2.5 * rows + 0.4)
    extent = [f(axis) for axis in (longitudes, latitudes) for f in (np.min, np.max)]
    order = slice(None, None, 1 if latitudes[-1] > latitudes[0] else -1)
    for n, (name, values) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, 3, n + 1)
        limits = {"vmin": 0, "vmax": 1, "cmap": "magma"} if name.startswith("density") else {"cmap": "viridis"}
        axes.imshow(values[order], origin="lower", extent=extent, aspect="auto", interpolation="nearest", **limits)
        axes.plot(true[:, 1], true[:, 0], "o", markersize=11, fillstyle="none", color="lime", label="true")
        axes.plot(found[:, 1], found[:, 0], "x", markersize=5, color="cyan", label="found")
        axes.set_xlim(extent[:2])
        axes.set_ylim(extent[2:])
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=6)
    figure.suptitle(title, fontsize=9)
    figure.legend(*axes.get_legend_handles_labels(), fontsize=7, loc="lower center", ncols=2)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    return figure


def reliability_curve(found):
    """Mean true density by that of the model, and pixels: a `keras_st.metrics.nowcast.Reliability`."""
    figure = new_figure(4, 3.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], ":", color="gray", label="reliable")
    axes.plot(found.probability, found.frequency, "o-", color=COLOURS[0], markersize=4, label="model")
    axes.set_xlabel("density of the model")
    axes.set_ylabel("mean true density")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper left")
    counts = axes.twinx()
    counts.bar(found.probability, found.cells, width=0.05, color="lightgray", zorder=0)
    counts.set_yscale("log")
    counts.set_ylabel("pixels", fontsize=7)
    counts.tick_params(labelsize=6)
    axes.set_zorder(counts.get_zorder() + 1)
    axes.patch.set_visible(False)
    figure.tight_layout()
    return figure


def _map(axes, places, least):
    """Degrees with a grid, north up, a degree of longitude as wide as it is in the middle."""
    places = places[np.isfinite(places).all(axis=1)]
    low, high = places.min(axis=0), places.max(axis=0)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2 * 1.15, least / 2)
    axes.set_ylim(middle[0] - half[0], middle[0] + half[0])
    axes.set_xlim(middle[1] - half[1], middle[1] + half[1])
    axes.set_aspect(1 / np.cos(np.radians(middle[0])))
    axes.set_xlabel("longitude (degrees east)", fontsize=7)
    axes.set_ylabel("latitude (degrees north)", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
