"""The benchmark of YouTube-8M's records: what is compared gives the same batches (never how fast anything is)."""

import json

import numpy as np
import pytest

from benchmarks import youtube8m
from pipelines import make_dataset


def test_loops_give_the_batches_of_the_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(youtube8m, "BATCH", 2)
    paths = youtube8m.write(tmp_path, 2, 2)
    dataset = make_dataset("youtube8m", "train", root=str(tmp_path), shuffle=False).batch(2)
    for decode in (youtube8m.frame_by_frame, youtube8m.at_once):
        batches = list(youtube8m.loop(paths, decode))
        assert len(batches) == 2
        for batch, want in zip(batches, dataset.as_numpy_iterator()):
            assert batch.keys() == want.keys()
            for name, values in want.items():
                np.testing.assert_array_equal(batch[name], values)
                assert name == "id" or batch[name].dtype == values.dtype


def test_every_reader_is_timed_stored_and_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(youtube8m, "BATCH", 2)
    out = tmp_path / "y.json"
    monkeypatch.setattr("sys.argv", ["x", "--rounds=2", "--videos=2", f"--folder={tmp_path}", f"--out={out}"])
    youtube8m.main()
    told, stored = capsys.readouterr().out, json.loads(out.read_text())
    rates = stored["videos_per_second_and_core"]
    assert list(rates["processor"]) == list(rates["clock"]) == list(stored["turns"]) and len(rates["clock"]) == 4
    assert all(len(turns) == 2 for turns in stored["turns"].values()) and min(rates["clock"].values()) > 0
    assert (
        (stored["videos"], stored["rounds"]) == (6, 2) and "environment" in stored and list(tmp_path.iterdir()) == [out]
    )
    monkeypatch.setattr("sys.argv", ["x", f"--table={out}"])
    youtube8m.main()
    assert capsys.readouterr().out == told and "| FromString, frame by frame |" in told


@pytest.mark.parametrize("words", [["--rounds=0"], ["--videos=3"], ["--out=README.md"]])
def test_mistakes_end_at_once(words, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["x", *words])
    with pytest.raises(SystemExit):
        youtube8m.main()
    assert "Received" in capsys.readouterr().err
