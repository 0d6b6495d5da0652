"""The folder of an evaluation: written aside, never over another, with a page that shows all of it."""

import contextlib
import csv
import html
import json
import os
import pathlib
import tempfile

import numpy as np

from keras_st import viz
from keras_st.specs import InputError


@contextlib.contextmanager
def written_aside(out):
    """A temporary folder that becomes `out` when the block ends well; otherwise nothing is left."""
    out = pathlib.Path(out)
    if out.exists():
        raise InputError(f"Nothing is overwritten; the folder must not exist. Received: {out}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder must be one that can be made. Received: {error}") from error
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".writing-") as aside:
        folder = pathlib.Path(aside, "out")
        folder.mkdir()
        yield folder
        os.rename(folder, out)


def write_report(folder, title, pictures, table=None):
    """report.html: the tables, then every picture, all files beside it."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    if table is not None:
        body.append(_markdown_as_html(table.read_text()))
    for caption, file in pictures:
        body.append(f'<figure><img src="{file}" alt="{html.escape(caption)}">')
        body.append(f"<figcaption>{html.escape(caption)}</figcaption></figure>")
    (folder / "report.html").write_text(REPORT.format(title=html.escape(title), body="\n".join(body)))


def write_evaluation(out, result, write, run=None):
    """The folder of an evaluation: metrics.json, what `write` adds, report.html. Prints the table, returns `out`.

    Args:
        result: plain values, with the names of the system and of the data.
        write: function of the folder that writes metrics.md and all else, and gives the pictures, `(caption, file)`.
        run: folder of the training, whose history.csv is told and drawn where there is one, or None.
    """
    history = read_history(run / "history.csv") if run else None
    result = result if history is None else {**result, "history": history}
    with written_aside(out) as folder:
        (folder / "metrics.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
        pictures = [*write(folder), *draw_history(folder, history)]
        write_report(folder, f"{result['system']} on {result['data']['name']}", pictures, folder / "metrics.md")
    print((out / "metrics.md").read_text())
    return out


REPORT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; margin: 1em 0; font-size: 85%; display: block; overflow-x: auto }}
td, th {{ border: 1px solid #ccc; padding: .3em .6em; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
img {{ max-width: 100%; border: 1px solid #ddd }} figure {{ margin: 1.5em 0 }} figcaption {{ color: #555 }}
</style></head><body>
{body}
</body></html>
"""


def _markdown_as_html(text):
    """The two things our own tables use: paragraphs and pipe tables."""
    parts = []
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        if not lines[0].startswith("|"):
            parts.append(f"<p>{html.escape(block)}</p>")
            continue
        rows = [[html.escape(cell.strip()) for cell in line.strip("|").split("|")] for line in lines]
        head = "".join(f"<th>{cell}</th>" for cell in rows[0])
        tail = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows[2:])
        parts.append(f"<table><tr>{head}</tr>{tail}</table>")
    return "\n".join(parts)


def plain(values):
    """Numbers for JSON, nested as they are: None where they are not finite."""
    if np.ndim(values):
        return [plain(value) for value in values]
    if not np.isfinite(values):
        return None
    return int(values) if np.asarray(values).dtype.kind in "iu" else float(values)


def read_json(path):
    """The content of a JSON file, None where there is none."""
    return json.loads(path.read_text()) if path.is_file() else None


def read_history(path):
    """`{name: [value per epoch]}` of the losses and errors in a run's history.csv, None where there is none."""
    if not path.is_file():
        return None
    with path.open() as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else []) if name.endswith(("loss", "mse"))]
    return {name: [float(row[name]) for row in rows] for name in names} or None


def draw_history(folder, history):
    """The losses over epochs, where they are known; `[(caption, file)]`."""
    if history is None:
        return []
    losses = {name: values for name, values in history.items() if name.endswith("loss")}
    viz.training_curves(losses).savefig(folder / "training.png")
    return [("Training", "training.png")]
