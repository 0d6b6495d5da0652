"""Every picture that `evaluate.py` draws: functions of arrays that return a matplotlib figure (or write a GIF).

Frames are float in 0..1, (T, H, W, C) with 1 or 3 channels; other channel counts are shown as their mean. Flow is
(..., H, W, 2) in pixels per frame, (u, v) to the right and down.
"""

import numpy as np

MOST_SHOWN = 12  # frames of a strip before and after the forecast begins


def displayable(frames):
    """(T, H, W, C) floats as uint8 grey (T, H, W) or colour (T, H, W, 3)."""
    frames = np.clip(np.asarray(frames, np.float32), 0.0, 1.0)
    frames = frames if frames.shape[-1] == 3 else frames.mean(axis=-1)
    return np.round(255 * frames).astype(np.uint8)


def strip(context, forecast, truth=None):
    """Rows of frames over time: context and truth, forecast, absolute error.

    Of long clips the last `MOST_SHOWN` context frames and evenly spaced forecast frames are shown.
    """
    first = max(len(context) - MOST_SHOWN, 0)
    context = context[first:]
    leads = np.unique(np.linspace(0, len(forecast) - 1, min(len(forecast), MOST_SHOWN)).round().astype(int))
    forecast, truth = forecast[leads], None if truth is None else truth[leads]
    rows = {"context, forecast": np.concatenate([context, forecast])}
    if truth is not None:
        hidden = np.zeros_like(context)
        rows = {
            "context, truth": np.concatenate([context, truth]),
            "forecast": np.concatenate([hidden, forecast]),
            "absolute error": np.concatenate([hidden, np.abs(truth - forecast)]),
        }
    columns = len(context) + len(forecast)
    figure = _figure(max(0.6 * columns, 4), 0.75 * len(rows))
    for r, (name, frames) in enumerate(rows.items()):
        shown = displayable(frames)
        for t in range(columns):
            if r and truth is not None and t < len(context):
                continue
            axes = figure.add_subplot(len(rows), columns, r * columns + t + 1)
            axes.imshow(shown[t], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            if r == 0:
                lead = leads[t - len(context)] + 1 if t >= len(context) else t - len(context) + 1
                axes.set_title(f"+{lead}" if lead > 0 else str(lead), fontsize=6, pad=2)
            if t == 0 or (r and t == len(context)):
                axes.set_ylabel(name.replace(", ", "\n"), fontsize=6)
    figure.subplots_adjust(left=0.06, right=0.995, top=0.9, bottom=0.02, wspace=0.05, hspace=0.1)
    return figure


def lead_time_curves(curves, ylabel, title=""):
    """One line per name over lead times 1..T: `{name: (T,)}`."""
    figure = _figure(5, 3)
    axes = figure.add_subplot()
    for name, values in curves.items():
        axes.plot(np.arange(1, len(values) + 1), values, marker="o", markersize=3, label=name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.25)
    axes.set_xlabel("lead time (frames)")
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=4, loc="upper center")
    figure.tight_layout()
    return figure


def training_curves(history):
    """Losses over epochs: `{name: [value per epoch]}`."""
    figure = _figure(5, 3)
    axes = figure.add_subplot()
    for name, values in history.items():
        axes.plot(np.arange(1, len(values) + 1), values, marker="o", markersize=3, label=name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    return figure


def confusion_matrix(counts, classes=None):
    """Counts (classes, classes), rows true, columns predicted."""
    counts = np.asarray(counts)
    names = [str(n) for n in range(len(counts))] if classes is None else classes
    side = max(3.0, 0.35 * len(counts) + 1.5)
    figure = _figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    if len(counts) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            dark = count > 0.5 * max(counts[row].sum(), 1)
            axes.text(column, row, count, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axes.set_xticks(range(len(names)), names, fontsize=7, rotation=90)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel("predicted (colour: share of the row)")
    axes.set_ylabel("true")
    figure.tight_layout()
    return figure


def examples(videos):
    """A row of evenly spaced frames for each of `videos`, `[(name, frames (T, H, W, C))]`."""
    shown = [frames[np.unique(np.linspace(0, len(frames) - 1, 8).round().astype(int))] for _, frames in videos]
    columns = max(map(len, shown))
    figure = _figure(columns, 1.15 * len(videos) + 0.1)
    for row, ((name, _), frames) in enumerate(zip(videos, shown)):
        for column, frame in enumerate(displayable(frames)):
            axes = figure.add_subplot(len(videos), columns, row * columns + column + 1)
            axes.imshow(frame, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_axis_off()
            if column == 0:
                axes.set_title(name, fontsize=6, loc="left", pad=2)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.02, wspace=0.05, hspace=0.3)
    return figure


# Hues of the Middlebury colour code: how many steps lead from each of these colours to the next (Baker et al. 2011)
WHEEL = (("red", 15), ("yellow", 6), ("lime", 4), ("cyan", 11), ("blue", 13), ("magenta", 6))


def flow_to_color(flow, largest=None):
    """Flow (..., 2) in px as RGB float32 (..., 3) in 0..1: direction is hue, length is saturation.

    The colour code of S. Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 92(1), 2011: rest
    is white, motion to the right red, down yellow, left green-blue, up violet. Lengths above `largest` (px; None: the
    longest there is) are darkened, unknown flow (not finite, or beyond 1e9 as in `.flo` files) is black.
    """
    from matplotlib.colors import to_rgb

    corners = [np.array(to_rgb(name)) for name, _ in WHEEL]
    following = corners[1:] + corners[:1]
    steps = zip(corners, following, (count for _, count in WHEEL))
    wheel = np.concatenate([a + (b - a) * np.arange(count)[:, None] / count for a, b, count in steps])
    flow = np.asarray(flow, np.float32)
    known = (np.abs(flow) <= 1e9).all(axis=-1)
    flow = np.where(known[..., None], flow, 0)
    length = np.linalg.norm(flow, axis=-1)
    length = length / max(length.max(initial=0) if largest is None else largest, 1e-9)
    turn = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1 * len(wheel)
    low = turn.astype(int) % len(wheel)
    part = (turn - np.floor(turn))[..., None]
    hue = (1 - part) * wheel[low] + part * wheel[(low + 1) % len(wheel)]
    length = length[..., None]
    color = np.where(length <= 1, 1 - length * (1 - hue), 0.75 * hue)
    return (color * known[..., None]).astype(np.float32)


def flow_wheel(largest):
    """The legend of `flow_to_color`: every direction, lengths up to `largest` px at the rim."""
    axis = np.linspace(-largest, largest, 151, dtype=np.float32)
    field = np.stack(np.meshgrid(axis, axis), axis=-1)  # u to the right, v down
    field[np.linalg.norm(field, axis=-1) > largest] = np.nan
    color = np.where(np.isfinite(field).all(-1, keepdims=True), flow_to_color(field, largest), 1)
    figure = _figure(1.6, 1.6)
    axes = figure.add_axes((0.3, 0.25, 0.66, 0.66))
    axes.imshow(color, extent=(-largest, largest, largest, -largest))
    axes.set_xlabel("u (px)", fontsize=6)
    axes.set_ylabel("v (px)", fontsize=6)
    axes.tick_params(labelsize=6)
    return figure


def save_gif(path, context, forecast, truth=None, frames_per_second=5, least_height=160):
    """Animated GIF: truth (or context) on the left, context then forecast on the right."""
    from PIL import Image

    right = displayable(np.concatenate([context, forecast]))
    panels = [right]
    if truth is not None:
        panels.insert(0, displayable(np.concatenate([context, truth])))
    scale = max(1, -(-least_height // right.shape[1]))
    gap = np.full((*right.shape[:2], 1, *right.shape[3:]), 128, np.uint8)
    joined = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=2)
    joined = joined.repeat(scale, axis=1).repeat(scale, axis=2)
    joined[len(context) :, :scale] = 255  # a white bar on top marks the forecast
    images = [Image.fromarray(frame) for frame in joined]
    images[0].save(path, save_all=True, append_images=images[1:], duration=1000 // frames_per_second, loop=0)


def _figure(width, height):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    return figure
