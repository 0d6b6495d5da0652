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
    leads = _evenly(len(forecast), MOST_SHOWN)
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
    figure = new_figure(max(0.6 * columns, 4), 0.75 * len(rows))
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
    figure = new_figure(5, 3)
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
    figure = new_figure(5, 3)
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


def precision_by_frequency(counts, precisions):
    """Average precision of classes over the numbers of videos that have them."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    figure = new_figure(5, 3)
    axes = figure.add_subplot()
    axes.plot(counts, precisions, ".", markersize=4, alpha=0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("videos of the class")
    axes.set_ylabel("average precision")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    return figure


def confusion_matrix(counts, classes=None):
    """Counts (classes, classes), rows true, columns predicted."""
    counts = np.asarray(counts)
    names = [str(n) for n in range(len(counts))] if classes is None else classes
    side = max(3.0, 0.35 * len(counts) + 1.5)
    figure = new_figure(side, side)
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


def label_timeline(labels, scores, classes):
    """Probabilities (T, K) over time as shades, a row a class; where a label (T, K) is 1 a line above it."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    figure = new_figure(7, 0.28 * len(classes) + 0.8)
    axes = figure.add_subplot()
    axes.imshow(scores.T, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    frames = np.arange(len(labels))
    for row in range(len(classes)):
        on = np.where(labels[:, row] == 1, row - 0.4, np.nan)
        axes.hlines(on, frames - 0.5, frames + 0.5, color="tab:red", linewidth=2)
    axes.set_yticks(range(len(classes)), classes, fontsize=7)
    axes.set_xlabel("frame")
    figure.tight_layout()
    return figure


def examples(videos):
    """A row of evenly spaced frames for each of `videos`, `[(name, frames (T, H, W, C))]`."""
    shown = [frames[_evenly(len(frames), 8)] for _, frames in videos]
    columns = max(map(len, shown))
    figure = new_figure(columns, 1.15 * len(videos) + 0.1)
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
    figure = new_figure(1.6, 1.6)
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


FOUND, TRUE = "cyan", "lime"  # colours of boxes


def attention_overlay(videos):
    """A row of evenly spaced, numbered frames for each of `videos`, under their attention, with boxes found and true.

    Every attention map is shown relative to its own maximum: clear where there is none, then yellow to red. Boxes found
    are drawn solid, true ones dashed.

    Args:
        videos: `[(name, frames (T, H, W, C), attention (T, h, w) or (T, h, w, 1), boxes, truth)]`; boxes and truth are
            (T, 4), (top, left, bottom, right) in pixels, half-open, rows of NaN where there is none; or None.

    Raises: ValueError: attention or boxes of another number of frames.
    """
    from matplotlib.patches import Rectangle

    videos = [(name, *_overlaid(*video)) for name, *video in videos]
    shown = [_evenly(len(frames), 8) for _, frames, *_ in videos]
    columns = max(map(len, shown))
    figure = new_figure(columns, 1.15 * len(videos) + 0.25)
    for row, ((name, frames, attention, boxes, truth), times) in enumerate(zip(videos, shown)):
        height, width = frames.shape[1:3]
        place = {"extent": (0, width, height, 0)}
        for column, t in enumerate(times):
            axes = figure.add_subplot(len(videos), columns, row * columns + column + 1)
            axes.imshow(frames[t], cmap="gray", vmin=0, vmax=255, interpolation="nearest", **place)
            axes.imshow(attention[t], cmap=_heat(), vmin=0, vmax=1, interpolation="bilinear", **place)
            for found, style in ((truth, {"color": TRUE, "linestyle": (0, (3, 2))}), (boxes, {"color": FOUND})):
                if found is not None and np.isfinite(found[t]).all():
                    top, left, bottom, right = found[t]
                    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, lw=1, **style))
            axes.set_axis_off()
            over = {"facecolor": "black", "alpha": 0.4, "linewidth": 0, "pad": 0.5}
            axes.text(0.02, 0.02, str(t), fontsize=5, color="white", transform=axes.transAxes, bbox=over)
            if column == 0:
                axes.set_title(name, fontsize=6, loc="left", pad=2)
    names = {"attention": Rectangle((0, 0), 1, 1, color=_heat()(0.7))}
    if any(boxes is not None for *_, boxes, _ in videos):
        names["found"] = Rectangle((0, 0), 1, 1, fill=False, color=FOUND)
    if any(truth is not None for *_, truth in videos):
        names["true"] = Rectangle((0, 0), 1, 1, fill=False, color=TRUE, linestyle=(0, (3, 2)))
    over = 0.2 / figure.get_size_inches()[1]
    place = {"loc": "upper right", "bbox_to_anchor": (1, 1), "borderpad": 0.2, "handleheight": 1, "handlelength": 1.5}
    figure.legend(names.values(), names, ncols=3, fontsize=6, frameon=False, **place)
    figure.subplots_adjust(left=0.01, right=0.99, top=1 - 1.7 * over, bottom=0.02, wspace=0.05, hspace=0.2)
    return figure


def save_attention_gif(path, frames, attention, boxes=None, truth=None, frames_per_second=5, least_height=160):
    """Animated GIF: a video on the left, on the right under its attention, with boxes found (cyan) and true (green).

    frames: (T, H, W, C); the others as those of `attention_overlay`.
    """
    from PIL import Image, ImageDraw

    frames, attention, boxes, truth = _overlaid(frames, attention, boxes, truth)
    scale = max(1, -(-least_height // frames.shape[1]))
    height, width = scale * frames.shape[1], scale * frames.shape[2]
    images = []
    for t, frame in enumerate(frames):
        plain = Image.fromarray(frame).convert("RGB").resize((width, height), Image.Resampling.NEAREST)
        map_ = Image.fromarray(attention[t].astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
        heat = Image.fromarray(_heat()(np.clip(np.asarray(map_), 0, 1), bytes=True))
        warm = Image.alpha_composite(plain.convert("RGBA"), heat).convert("RGB")
        pen = ImageDraw.Draw(warm)
        for found, colour in ((truth, TRUE), (boxes, FOUND)):
            if found is not None and np.isfinite(found[t]).all():
                top, left, bottom, right = np.round(scale * found[t]).astype(int)
                pen.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=colour, width=2)
        joined = Image.new("RGB", (2 * width + scale, height), (128, 128, 128))
        joined.paste(plain, (0, 0))
        joined.paste(warm, (width + scale, 0))
        images.append(joined)
    images[0].save(path, save_all=True, append_images=images[1:], duration=1000 // frames_per_second, loop=0)


def _overlaid(frames, attention, boxes, truth):
    """Frames as bytes, attention (T, h, w) with a maximum of 1 a frame (or 0), boxes (T, 4) or None, checked."""
    frames, attention = displayable(frames), np.asarray(attention, np.float64)
    attention = attention[..., 0] if attention.ndim == 4 and attention.shape[-1] == 1 else attention
    if attention.ndim != 3 or len(attention) != len(frames):
        raise ValueError(
            f"Attention must be a map (h, w) of each of {len(frames)} frames. Received: shape={attention.shape}"
        )
    boxes, truth = (None if found is None else np.asarray(found, np.float64) for found in (boxes, truth))
    for found in (boxes, truth):
        if found is not None and found.shape != (len(frames), 4):
            raise ValueError(f"Boxes must be (T, 4) for {len(frames)} frames. Received: shape={found.shape}")
    largest = attention.max(axis=(1, 2), keepdims=True)
    attention = np.divide(attention, largest, out=np.zeros_like(attention), where=largest > 0)
    return frames, attention, boxes, truth


def _heat():
    """Colours of attention 0..1 to lay over a frame: clear, then yellow to red."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    colours = matplotlib.colormaps["autumn_r"](np.linspace(0, 1, 256))
    colours[:, 3] = 0.65 * np.linspace(0, 1, 256)
    return ListedColormap(colours)


def _evenly(length, count):
    """Indices of at most `count` of `length` frames, evenly spaced, first and last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, count)).round().astype(int))


def new_figure(width, height):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    return figure
