"""The benchmarks of serving: what they store and the tables of it (never how fast anything is)."""

import json

import numpy as np
import pytest

from benchmarks import formats, results, serving


def table(path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["x", str(path)])
    capsys.readouterr()
    results.main()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]


def test_latency_of_a_classifier_and_its_stream(tmp_path, monkeypatch, capsys):
    """Small models; a fresh process is replaced by what it would print."""
    asked = []
    monkeypatch.setattr(serving, "BATCHES", (2,))
    monkeypatch.setattr(serving, "in_fresh_process", lambda *words: asked.append(words) or "4096")
    out = tmp_path / "s.json"
    monkeypatch.setattr("sys.argv", ["x", "--tiny", "--rounds=2", "--systems", "conv_alstm", "c3d", f"--out={out}"])
    serving.main()
    stored = json.loads(out.read_text())
    assert [(e["system"], e["batch"]) for e in stored["latency"]] == [("conv_alstm", 2), ("c3d", 2)]
    assert stored["rounds"] == 2 and stored["environment"]["hardware"]
    for entry in stored["latency"]:
        assert entry["calls"].keys() >= set(serving.CONTESTANTS) and ("stream" in entry) == ("step" in entry["calls"])
        assert all(told["p50_seconds"] <= told["p99_seconds"] for told in entry["calls"].values())
    assert "stream" in stored["latency"][0] and "stream" not in stored["latency"][1]
    assert len(asked) == 8 and all(words[:2] == ("benchmarks.serving", "--tiny") for words in asked)
    header, _, *rows = table(out, monkeypatch, capsys)
    assert {len(row) for row in rows} == {len(header)} and rows[1][-3:] == ["–"] * 3
    with pytest.raises(SystemExit):
        monkeypatch.setattr("sys.argv", ["x", f"--out={out}"])
        serving.main()


def test_contestants_that_disagree_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "contestant", lambda name, *_: lambda clip: {"logits": np.full(3, float(name == "c"))})
    with pytest.raises(AssertionError, match="predict computes something else"):
        serving.calls_of("lrcn", True, tmp_path, 1, ("c", "predict"))


def test_memory_of_the_c_api_in_this_process(tmp_path):
    model, features, names = serving.prepare("lrcn", True, tmp_path)
    np.save(tmp_path / "clip1.npy", serving.clip_of(model, features, 1))
    assert names == serving.CONTESTANTS and serving.grown_memory("c", "lrcn", True, tmp_path, 1) > 0


def test_the_share_of_a_step_by_hand():
    told = {name: {"p50_seconds": value} for name, value in {"c": 12.0, "one_frame": 3.0, "step": 6.0}.items()}
    assert serving.stream_told(told, 10) == {"times_whole_by_frames": 5.0, "times_one_frame": 2.0}


def test_formats(tmp_path, monkeypatch, capsys):
    out = tmp_path / "f.json"
    monkeypatch.setattr("sys.argv", ["x", "--systems", "c3d", "yt8m_logistic", f"--out={out}"])
    formats.main()
    stored = json.loads(out.read_text())
    clip, features = stored["formats"]
    assert clip["axes"] == features["axes"] == ["batch"] and stored["versions"]["onnxruntime"]
    assert clip["formats"]["litert"] == {"refused": "operation MaxPool3D"}
    assert max(clip["formats"]["onnx"]["differences"].values()) < 1e-4
    header, _, *rows = table(out, monkeypatch, capsys)
    assert {len(row) for row in rows} == {len(header)} and rows[0][1] == "batch"
    assert rows[0][4:] == ["no: MaxPool3D", "–"] * 2


@pytest.mark.parametrize("words", [["--systems", "conv_lsm"], ["--out=."]])
def test_what_formats_refuses(words, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["x", *words])
    with pytest.raises(SystemExit):
        formats.main()
    assert "Received" in capsys.readouterr().err
