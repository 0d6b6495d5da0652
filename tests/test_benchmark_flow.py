"""The benchmark of flow: what it reads, scores and prints (never how fast anything is)."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from benchmarks import flow
from pipelines.flow import write_flo


@pytest.fixture
def pairs(tmp_path, rng):
    """Three pairs of noise, two of one size; the truth is (3, 4) px."""
    for name, size in {"A": (20, 24), "B": (20, 24), "C": (24, 20)}.items():
        folder = tmp_path / "pairs" / name
        folder.mkdir(parents=True)
        for n in (0, 1):
            Image.fromarray(rng.integers(0, 256, (*size, 3)).astype("uint8")).save(folder / f"frame1{n}.png")
        write_flo(folder / "flow10.flo", np.broadcast_to((3.0, 4.0), (*size, 2)))
    return tmp_path / "pairs"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="measures TensorFlow graphs")
def test_every_method_is_scored_stored_and_printed(pairs, tmp_path, monkeypatch, capsys):
    pytest.importorskip("cv2")
    monkeypatch.setattr(flow, "OURS", {"TVL1Flow": {"levels": 1, "warps": 1, "iterations": 1}})
    out = tmp_path / "f.json"
    monkeypatch.setattr("sys.argv", ["x", f"--data={pairs}", "--rounds=1", f"--out={out}"])
    flow.main()
    told = capsys.readouterr().out
    stored = json.loads(out.read_text())
    names = ["zero flow", *flow.THEIRS, "TVL1Flow", "TVL1Flow, XLA"]
    assert [e["method"] for e in stored["results"]] == names and stored["rounds"] == 1
    zero, *_, ours, compiled = stored["results"]
    assert zero["end_point_error"] == pytest.approx(5) and zero["angular_error"] == pytest.approx(78.69, abs=0.01)
    assert ours["end_point_error"] == pytest.approx(compiled["end_point_error"], abs=1e-3)
    assert set(ours["pairs"]) == {"A", "B", "C"} and ours["pairs"]["C"]["seconds"] > 0
    assert [(e["method"], e["count"], e["size"]) for e in stored["batches"]] == [
        (flow.BASE, 2, [20, 24]),
        ("TVL1Flow", 2, [20, 24]),
    ]
    assert next(e for e in stored["results"] if e["method"] == flow.BASE)["times_faster"] == 1
    assert "environment" in stored
    monkeypatch.setattr("sys.argv", ["x", f"--table={out}"])
    flow.main()
    assert capsys.readouterr().out.strip() in told


@pytest.mark.parametrize("words", [[], ["--data=nowhere"], ["--rounds=0"]])
def test_mistakes_end_at_once(words, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["x", *words])
    with pytest.raises(SystemExit):
        flow.main()
    assert "Received" in capsys.readouterr().err
