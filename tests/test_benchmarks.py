"""The benchmark commands: what they count, and that they write a table and a plot (never how fast they are)."""

import json

import pytest

from benchmarks import e3d_ablation, e3d_lstm, results


def test_multiply_adds_by_hand():
    """One level of 2 channels on 4x4 maps: 2 x 2 x 16 positions; convolutions and RECALL of 3 slots."""
    sizes = {"levels": 1, "filters": 2, "channels": 3, "size": 4, "length": 5, "recall_steps": 3}
    positions = 2 * 2 * 16
    convolutions = 50 * 2 * (7 * 3 + 9 * 2) + 2 * 2 * 2
    recall = 2 * 3 * 32 * 2  # Q K^T and P K
    assert e3d_lstm.multiply_adds(**sizes) == 5 * positions * (convolutions + recall)


def test_ablation_writes_a_table_and_a_plot(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(e3d_ablation, "run", lambda words, steps, seed: len(words) + 0.1 * seed)
    out = tmp_path / "a.json"
    monkeypatch.setattr("sys.argv", ["x", "--steps=3", "--seeds", "0", "1", f"--out={out}"])
    e3d_ablation.main()
    stored = json.loads(out.read_text())
    variants = {(e["study"], e["variant"]) for e in stored["results"]}
    assert stored["steps"] == 3 and len(variants) == 15 and all(len(e["seeds"]) == 2 for e in stored["results"])
    assert out.with_suffix(".png").stat().st_size > 1000
    assert capsys.readouterr().out.count("\n") == 17
    with pytest.raises(SystemExit):
        monkeypatch.setattr("sys.argv", ["x", f"--out={out}"])
        e3d_ablation.main()


@pytest.mark.parametrize("study", ["copy", "weight"])
def test_a_variant_runs(study, monkeypatch):
    common, variants = e3d_ablation.STUDIES[study]
    small = ["--data.num_test_sequences=4", "--training.batch_size=2", "--model.filters=[2]"]
    changed = list(variants.values())[1]
    score = e3d_ablation.run([*common, *changed, *small], 1, 0)
    assert 0 <= score <= 1


def test_every_variant_is_a_command_line_of_its_system():
    for common, variants in e3d_ablation.STUDIES.values():
        recipes = [e3d_ablation.recipe_of([*common, *changed], 10, 0) for changed in variants.values()]
        assert all(a != b for n, a in enumerate(recipes) for b in recipes[:n])


def test_plot_and_rows_of_the_lengths(tmp_path):
    base = {"levels": 4, "filters": 64, "size": 16, "form": "chunks"}
    base |= {"fits": True, "rate_share": 1.0, "memory_bytes": 2**30}
    entries = [{**base, "length": n, "recall_steps": r, "median_seconds": n} for n in (10, 20) for r in (1, 5, n)]
    e3d_lstm.plot(entries, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert e3d_lstm.row(entries[2]) == "| 4 x 64 | 16x16 | 10 | all | chunks | 10.00 | 100 % | 1.00 |"
    assert "does not fit" in e3d_lstm.row({**entries[0], "fits": False})


def test_table_and_curves_of_stored_results(tiny_run, tmp_path, monkeypatch, capsys):
    run, _ = tiny_run
    monkeypatch.setattr("sys.argv", ["x", str(run / "metrics.json")])
    results.main()
    assert "generated digits" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["x", str(run / "metrics.json"), f"--curves={tmp_path / 'c.png'}"])
    results.main()
    assert (tmp_path / "c.png").stat().st_size > 1000
    with pytest.raises(SystemExit):
        results.main()
