"""Attention trained with classes of clips alone lies on what acts (recognition B5)."""

import json

import train


def test_video_lstm_localises_what_moves(tmp_path):
    """Tubes of attention have at least twice the mean average precision of the centre box at an overlap of 0.2."""
    words = ["video_lstm", "--model.width=8", "--data.num_test_sequences=100"]
    train.main([*words, f"--runs={tmp_path / 'runs'}", f"--saved_models={tmp_path / 'served'}"])
    (run,) = (tmp_path / "runs" / "video_lstm").iterdir()
    result = json.loads((run / "metrics.json").read_text())
    assert result["data"]["name"] == "acting_objects" and result["classification"]["accuracy"] > 0.9
    found = result["localisation"]
    at = found["thresholds"].index(0.2)
    assert found["map"][at] >= 2 * found["map_centre_box"][at] and found["map"][at] > 0.2
    assert {"attention.png", "attention.gif"} <= {path.name for path in (run / "evaluation" / "1").iterdir()}
