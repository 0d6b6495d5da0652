"""The benchmark commands: what they count, and that they write a table and a plot (never how fast they are)."""

import json

import pytest

from benchmarks import e3d_ablation, e3d_lstm, p3d, results


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


def test_p3d_benchmark(monkeypatch, tmp_path, capsys):
    """What is measured, with a fresh process replaced by what it would print."""
    told = {"time": {"clips_per_second": 6.0, "matrix_product_flops": 1e9, "memory_bytes": 2**30}}
    told |= {"count": {"multiply_adds": 10**7}, "load": {"build_seconds": 2.0, "load_seconds": 1.0}}
    monkeypatch.setattr(p3d, "point", lambda backend, what, **options: {**told[what], "x": options})
    monkeypatch.setattr("sys.argv", ["x", f"--out={tmp_path / 'p.json'}"])
    p3d.main()
    stored = json.loads((tmp_path / "p.json").read_text())["results"]
    assert [(e["net"], e["train"]) for e in stored] == [(n, t) for t in (False, True) for n in p3d.NETS]
    assert {e["times_c3d"] for e in stored} == {1.0}
    assert [e["rate_share"] for e in stored[:4]] == pytest.approx([0.12] * 3 + [0.36])
    monkeypatch.setattr("sys.argv", ["x", f"--table={tmp_path / 'p.json'}"])
    told = capsys.readouterr().out
    p3d.main()
    assert capsys.readouterr().out.strip() == told.strip()


def test_the_net_with_full_kernels(monkeypatch):
    """Of P3D-63 it differs by the 13 kernels 3x3x3 in place of S and T, and T's normalisations."""
    import keras_st.models.p3d_resnet as networks

    monkeypatch.setattr(networks, "P3DBlock", networks.P3DBlock)  # which make() replaces
    full, ours = p3d.make("full_63").count_params(), 24_983_232 + 101 * 2049
    channels = 3 * 64 + 4 * 128 + 6 * 256
    squares = 3 * 64**2 + 4 * 128**2 + 6 * 256**2
    assert full == ours + (27 - 9 - 3) * squares - 4 * channels


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


def test_table_of_classifiers(clips_run, tiny_run, monkeypatch, capsys):
    paths = [str(run / "metrics.json") for run in (clips_run[0], tiny_run[0])]
    monkeypatch.setattr("sys.argv", ["x", *paths])
    results.main()
    table = capsys.readouterr().out
    assert "| ut_interaction | 3 |" in table and "mean class accuracy" in table and "generated digits" in table
    monkeypatch.setattr("sys.argv", ["x", paths[0], "--curves=c.png"])
    with pytest.raises(SystemExit):
        results.main()
