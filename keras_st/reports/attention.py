"""What a classifier looked at: pictures, and scores where true boxes are known."""

from keras_st import viz
from keras_st.metrics import localisation


def summarise_localisation(attention, probabilities, labels, boxes, frame_size, share):
    """Mean average precision of tubes made of attention, beside that of the centre box, at six overlaps.

    Args: dicts by id of a video: attention (T, h, w, 1), probabilities (classes,), labels int, true boxes (T, 4) in
    pixels of frames of `frame_size`; share: height and width of the centre box, as `localisation.mean_share` gives it.
    """
    truths = [localisation.Detection(name, labels[name], localisation.Tube(0, boxes[name])) for name in boxes]
    found, centred = [], []
    for name, maps in attention.items():
        tubes = localisation.attention_tubes(maps, frame_size)
        centre = [localisation.centre_box(frame_size, len(maps), share)]
        for kind, own in ((found, tubes), (centred, centre)):
            for tube in own:
                for label, probability in enumerate(probabilities[name]):
                    score = localisation.tube_score(probability, tube)
                    kind.append(localisation.Detection(name, label, tube, float(score)))
    return {
        "thresholds": list(localisation.THRESHOLDS),
        "map": list(localisation.localisation_map(found, truths).values()),
        "map_centre_box": list(localisation.localisation_map(centred, truths).values()),
        "videos": len(truths),
    }


def localisation_lines(entry):
    """The table of `summarise_localisation`, as Markdown."""
    cells = " | ".join(f"{threshold:g}" for threshold in entry["thresholds"])
    lines = [f"| mAP at an overlap of | {cells} |", "|---|" + "---|" * len(entry["thresholds"])]
    for name, key in (("tubes of attention", "map"), ("centre box", "map_centre_box")):
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in entry[key]) + " |")
    return lines


def draw_attention(folder, shown):
    """A figure of some videos and an animation of the first; `[(caption, file)]`.

    shown: `[(id, frames (T, H, W, C) 0..1, attention (T, h, w, 1), true boxes (T, 4) or None)]`.
    """
    if not shown:
        return []
    rows = []
    for name, frames, attention, truth in shown:
        boxes = localisation.attention_boxes(attention, frames.shape[1:3]) if truth is not None else None
        rows.append((name, frames, attention, boxes, truth))
    viz.attention_overlay(rows).savefig(folder / "attention.png")
    viz.save_attention_gif(folder / "attention.gif", *rows[0][1:])
    caption = "Attention: colour is relative to the most in each frame, evenly spaced frames"
    return [(caption, "attention.png"), (f"Attention in {rows[0][0]}, frame by frame", "attention.gif")]
