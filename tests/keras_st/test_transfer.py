"""Similarity measures by hand; SVM, leave-one-out and similarity on clouds that can be told apart."""

import json
import sys

import numpy as np
import pytest

from keras_st import cli, transfer
from keras_st.specs import InputError

pytest.importorskip("sklearn")


def named(a, b):
    return dict(zip(transfer.MEASURES, transfer.measures(np.array([a]), np.array([b]))[0]))


def test_measures_by_hand():
    """a = (1, 2, 1), b = (0, 1, 3): histograms (.25, .5, .25) and (0, .25, .75)."""
    got = named([1.0, 2, 1], [0.0, 1, 3])
    p, q = np.array([0.25, 0.5, 0.25]), np.array([0, 0.25, 0.75])
    m = (p + q) / 2
    want = {
        "dot": 5,
        "cosine": 5 / np.sqrt(60),
        "l1": 4,
        "l2": np.sqrt(6),
        "squared_l2": 6,
        "chebyshev": 2,
        "canberra": 1 + 1 / 3 + 2 / 4,
        "chi_square": 0.25 + 0.0625 / 0.75 + 0.25 / 1.0,
        "hellinger": np.sqrt((0.25 + (np.sqrt(0.5) - 0.5) ** 2 + (0.5 - np.sqrt(0.75)) ** 2) / 2),
        "histogram_intersection": 0.5,
        "correlation": np.corrcoef([1, 2, 1], [0, 1, 3])[0, 1],
        "jensen_shannon": 0.5 * (np.sum(p * np.log(p / m)) + 0.25 * np.log(0.25 / 0.375) + 0.75 * np.log(0.75 / 0.5)),
    }
    assert set(got) == set(want) and len(want) == 12
    for name, value in want.items():
        assert got[name] == pytest.approx(value), name


def test_negative_values_do_not_enter_histograms():
    assert named([1.0, -5, 1], [1.0, 0, 1])["chi_square"] == 0
    assert np.isfinite(list(named([0.0, -1], [0.0, 0]).values())).all()


def test_the_same_video_is_most_alike_and_order_does_not_matter(rng):
    a, b = rng.normal(size=(2, 40, 16))
    np.testing.assert_allclose(transfer.measures(a, b), transfer.measures(b, a))
    same, other = transfer.measures(a, a), transfer.measures(a, b)
    for n, name in enumerate(transfer.MEASURES):
        if name in ("cosine", "correlation", "histogram_intersection"):
            np.testing.assert_allclose(same[:, n], 1)
        elif name != "dot":
            np.testing.assert_allclose(same[:, n], 0, atol=1e-7)
        if name != "dot":  # of vectors of one length only
            assert ((same[:, n] > other[:, n]) == (name in transfer.SIMILARITIES)).all()


def clouds(rng, count=40):
    labels = np.arange(count) % 2
    return rng.normal(size=(count, 8)) + 4 * np.eye(8)[labels], labels


def test_svm_and_leave_one_out_separate_two_clouds(rng):
    x, y = clouds(rng)
    test, test_y = clouds(rng)
    assert transfer.svm(x, y, test, test_y) > 0.95 and transfer.leave_one_out(x, y) > 0.95
    assert transfer.svm(x, 1 - y, test, test_y) < 0.05 and transfer.leave_one_out(rng.normal(size=x.shape), y) < 0.8
    assert transfer.svm(5 * x, y, test, test_y) == transfer.svm(x, y, test, test_y)  # L2-normalised


@pytest.mark.parametrize("normalise", ["standard", "l2"])
def test_similarity_over_ten_folds(rng, normalise):
    x, y = clouds(rng, 200)
    first, second = np.arange(0, 200), rng.permutation(200)
    vectors, same = transfer.measures(x[first], x[second]), y[first] == y[second]
    result = transfer.similarity(vectors, same, normalise=normalise)
    assert result["accuracy"] > 0.9 and result["auc"] > 0.95 and len(result["accuracy_by_fold"]) == 10
    chance = transfer.similarity(vectors, rng.permutation(same), normalise=normalise)
    assert chance["accuracy"] < 0.65
    own = transfer.similarity(vectors, same, folds=np.arange(200) % 4, normalise=normalise)
    assert len(own["accuracy_by_fold"]) == 4


@pytest.fixture
def files(tmp_path, rng):
    for name in ("train", "test"):
        x, y = clouds(rng)
        np.savez(tmp_path / f"{name}.npz", pool5=x, res5c=x[:, None, None], labels=y, ids=[f"v{n}" for n in range(40)])
    lines = [f"v{a},v{b},{int(a % 2 == b % 2)}" for a in range(20) for b in range(20, 26)]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path


def run(capsys, *words):
    transfer.main([str(word) for word in words])
    return json.loads(capsys.readouterr().out)


def test_command_lines(files, capsys):
    assert run(capsys, "svm", files / "train.npz", files / "test.npz")["accuracy"] > 0.95
    assert run(capsys, "leave_one_out", files / "train.npz", "--taps", "res5c", "--C=0.5")["videos"] == 40
    result = run(capsys, "similarity", files / "train.npz", files / "pairs.csv", "--taps", "pool5", "res5c")
    assert result["pairs"] == 120 and result["accuracy"] > 0.8 and result["most_frequent_answer"] == 0.5


@pytest.mark.parametrize(
    "words, pairs, told",
    [
        (["svm", "train.npz"], None, "two files"),
        (["leave_one_out", "train.npz", "test.npz"], None, "two files"),
        (["svm", "train.npz", "missing.npz"], None, "missing.npz"),
        (["svm", "train.npz", "test.npz", "--taps", "fc6"], None, "no fc6"),
        (["similarity", "train.npz", "pairs.csv"], "v1,v2", "lines"),
        (["similarity", "train.npz", "pairs.csv"], "v1,v99,1\nv1,v2,0", "Line 1 of"),
        (["similarity", "train.npz", "pairs.csv"], "v1,v2,1\nv1,v3,1", "both kinds"),
        (["similarity", "train.npz", "pairs.csv"], "", "lines"),
        (["similarity", "train.npz", "pairs.csv"], "v1,v2,01\nv1,v3,0", "v1,v2,01"),
        (["similarity", "train.npz", "pairs.csv"], "v1,v2,1\nv1,v3,0", "cannot be run"),
    ],
)
def test_mistakes_are_one_line(files, capsys, words, pairs, told):
    if pairs is not None:
        (files / "pairs.csv").write_text(pairs)
    words = [str(files / word) if "." in word else word for word in words]
    with pytest.raises(SystemExit) as error:
        cli.run(transfer.main, words)
    message = capsys.readouterr().err
    assert error.value.code == 2 and told in message and message.count("\n") == 1


@pytest.mark.parametrize("task", ["svm", "leave_one_out", "similarity"])
def test_without_scikit_learn_the_extra_is_named(files, monkeypatch, task):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"] + ["sklearn", "sklearn.svm"]:
        monkeypatch.setitem(sys.modules, name, None)
    other = {"svm": ["test.npz"], "leave_one_out": [], "similarity": ["pairs.csv"]}[task]
    with pytest.raises(InputError, match=r"keras_st\[svm\]"):
        transfer.main([task, *(str(files / name) for name in ["train.npz", *other])])


def test_truncated_features_are_named(files):
    whole = (files / "train.npz").read_bytes()
    (files / "train.npz").write_bytes(whole[:300])
    with pytest.raises(InputError, match="train.npz.*Received"):
        transfer.read_features(files / "train.npz", ["pool5"])
