"""The client's command line: clips from files, folders and webcams; what it prints, keeps and refuses."""

import socket

import cv2
import numpy as np
import pytest
import tensorflow as tf
from prediction_service import RunningMean, serve

from examples import serving_client as client


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`({"grpc": address, "rest": address}, model)`."""
    folder = RunningMean().save(tmp_path_factory.mktemp("toy") / "1")
    with serve(folder) as (grpc_address, rest_address, model):
        yield {"grpc": grpc_address, "rest": rest_address}, model


@pytest.fixture(params=["grpc", "rest"])
def way(request):
    return request.param


def run(server, capsys, way, *words):
    """Lines that a command prints."""
    words = [*words, "--address", server[0][way], *(["--rest"] if way == "rest" else [])]
    client.main([str(word) for word in words])
    return capsys.readouterr().out.splitlines()


def refused(server, capsys, *words):
    """The line with which a command ends."""
    with pytest.raises(SystemExit) as end:
        client.main([str(word) for word in (*words, "--address", server[0]["grpc"])])
    told = capsys.readouterr().err
    assert end.value.code == 2 and told.count("\n") == 1
    return told


def best(probabilities, names):
    return ["  ".join(f"{row[k]:.3f} {names[k]}" for k in np.argsort(-row)) for row in probabilities]


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("dark\ndämmrig\nbright\n", encoding="utf-8")
    return path


@pytest.fixture
def bright(tmp_path):
    """Seven images that become brighter, in a folder with a file that is none, and as an array."""
    frames = np.linspace(0, 255, 7).astype("uint8")[:, None, None, None] * np.ones((1, 12, 16, 1), "uint8")
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")
    for n, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{n}.png"), frame)
    np.save(tmp_path / "clip.npy", frames)
    return folder, tmp_path / "clip.npy", frames


def test_classify(server, capsys, way, labels, bright):
    folder, array, frames = bright
    expected = server[1].run("serving_default", {"video": frames[None]})["probabilities"]
    names = ["dark", "dämmrig", "bright"]
    for source in (folder, array):
        words = ("classify", "toy", "--input", source, "--labels", labels)
        assert run(server, capsys, way, *words) == best(expected, names)
        assert run(server, capsys, way, *words, "--top=1") == [best(expected, names)[0].split("  ")[0]]
    assert run(server, capsys, way, "classify", "toy", "--input", array) == best(
        expected, ["class 0", "class 1", "class 2"]
    )


def test_classify_takes_frames_from_all_of_the_clip(server, capsys, bright):
    _, array, frames = bright
    told = run(server, capsys, "grpc", "classify", "toy", "--input", array, "--frames=3")
    expected = server[1].run("serving_default", {"video": frames[None, [0, 3, 6]]})["probabilities"]
    assert told == best(expected, ["class 0", "class 1", "class 2"])


@pytest.mark.parametrize("signature", ["serving_default", "serving_float", "encoded", "forecast"])
def test_forecast_goes_on_from_the_last_frames(server, capsys, tmp_path, bright, signature):
    folder, _, frames = bright
    out = tmp_path / "out.npz"
    words = ("forecast", "toy", "--input", folder, "--frames=2", f"--signature={signature}", "--size=6x8")
    told = run(server, capsys, "grpc", *words, "--out", out)
    expected = server[1].run("forecast", {"video": frames[None, -2:, :6, :8]})["frames"]
    with np.load(out) as file:
        assert set(file) == {"frames"} | ({"logits", "probabilities"} if signature != "forecast" else set())
        np.testing.assert_allclose(file["frames"], expected, atol=5e-3 if signature == "encoded" else 1e-6)
    if signature == "forecast":
        assert told == [f"frames (1, 1, 6, 8, 1) {expected.min():.4g}..{expected.max():.4g}"]
    assert "Nothing is overwritten" in refused(server, capsys, *words, "--out", out)
    assert "a folder that is there" in refused(server, capsys, *words, "--out", tmp_path / "no" / "out.npz")


def test_stream(server, capsys, way, tmp_path, labels, bright):
    folder, array, frames = bright
    for source, size in ((array, ()), (folder, ("--size=12x16",))):
        out = tmp_path / f"{way}{source.stem}.npz"
        words = ("stream", "toy", "--input", source, "--labels", labels, "--frames=4", "--out", out, *size)
        told = run(server, capsys, way, *words)
        clips = [server[1].run("serving_default", {"video": frames[None, : t + 1]}) for t in range(4)]
        assert told == [best(clip["probabilities"], ["dark", "dämmrig", "bright"])[0] for clip in clips]
        with np.load(out) as file:
            assert file["frames"].shape == (4, 1, 12, 16, 1) and set(file) == {"frames", "logits", "probabilities"}
            np.testing.assert_allclose(file["frames"][-1], clips[-1]["frames"][0], atol=1e-6)


def test_whole_numbers_are_pixels_of_any_dtype(server, capsys, way, tmp_path, bright):
    _, array, frames = bright
    np.save(tmp_path / "int64.npy", frames.astype("int64"))
    for words in (("classify", "--signature=serving_float"), ("classify", "--size=6x8"), ("stream",)):
        command, *options = words
        told, other = (
            run(server, capsys, way, command, "toy", "--input", source, *options)
            for source in (array, tmp_path / "int64.npy")
        )
        assert told == other


def test_a_video_and_a_webcam(server, capsys, tmp_path, monkeypatch):
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 16))
    for value in (0, 100, 200):
        writer.write(np.full((16, 32, 3), (value, 0, 0), np.uint8))  # blue
    writer.release()
    frames = np.stack(list(client.read_frames(str(video))))
    assert frames.shape == (3, 16, 32, 3) and frames[2, ..., 2].mean() > 180 and frames[..., :2].mean() < 20
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None] for frame in frames])
    expected = server[1].run("serving_default", {"video": grey[None]})["probabilities"]
    told = best(expected, ["class 0", "class 1", "class 2"])
    assert run(server, capsys, "grpc", "classify", "toy", "--input", video) == told

    opened, own = [], cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: opened.append(source) or own(str(video)))
    assert run(server, capsys, "grpc", "classify", "toy", "--input=0", "--frames=3") == told
    assert run(server, capsys, "grpc", "stream", "toy", "--input=1")[-1] == told[0]
    assert opened == [0, 1]
    assert "A webcam does not end" in refused(server, capsys, "classify", "toy", "--input=0")


def test_arrays_by_name(server, capsys, tmp_path, rng):
    clips = rng.integers(0, 256, (1, 1, 6, 7, 1), np.uint8)
    state = {"state_0": np.zeros((6, 7, 1), "float32"), "state_1": np.array(0, "int32")}
    np.savez(tmp_path / "step.npz", frame=clips[0, 0], **state)
    words = ("classify", "toy", "--input", tmp_path / "step.npz", "--signature=step")
    expected = server[1].run("serving_default", {"video": clips})["probabilities"]
    assert run(server, capsys, "grpc", *words) == best(expected, ["class 0", "class 1", "class 2"])
    for option in ("--size=4x4", "--frames=1"):
        assert "sent as they are" in refused(server, capsys, *words, option)


def test_an_interrupted_stream_keeps_what_came(server, capsys, tmp_path, monkeypatch):
    def frames(_):
        yield from np.zeros((3, 4, 4, 1), np.uint8)
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "read_frames", frames)
    with pytest.raises(SystemExit) as end:
        client.main(["stream", "toy", "--input=0", f"--out={tmp_path / 'out.npz'}", "--address", server[0]["grpc"]])
    assert end.value.code == 130 and len(capsys.readouterr().out.splitlines()) == 3
    with np.load(tmp_path / "out.npz") as file:
        assert file["frames"].shape == (3, 1, 4, 4, 1)


def test_what_the_command_line_refuses(server, capsys, tmp_path, labels, bright):
    folder, array, _ = bright
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.npy").write_bytes(b"no array")
    (tmp_path / "no.npz").write_bytes(b"PK no archive")
    (tmp_path / "one.txt").write_text("one\n")
    np.save(tmp_path / "flat.npy", np.zeros((3, 4), "uint8"))
    np.save(tmp_path / "number.npy", np.array(3))
    np.save(tmp_path / "large.npy", np.full((3, 4, 4, 1), 300))
    np.save(tmp_path / "half.npy", np.full((3, 4, 4, 1), 0.5))
    cv2.imwrite(str(tmp_path / "empty" / "a.png"), np.zeros((4, 4, 3), "uint8"))
    cv2.imwrite(str(tmp_path / "empty" / "b.png"), np.zeros((4, 6, 3), "uint8"))
    classify = ("classify", "toy", "--input")
    for words, told in (
        ((*classify, tmp_path / "none.avi"), "must be a file, a folder or the number of a webcam"),
        ((*classify, tmp_path / "no.npy"), "cannot be read"),
        ((*classify, tmp_path / "no.npz"), "cannot be read"),
        ((*classify, labels), "a frame at least"),
        ((*classify, tmp_path / "number.npy"), r"must be (H, W, C). Received: shape=()"),
        ((*classify, tmp_path / "large.npy"), "takes whole numbers, 0..255; serving_float 0..1. Received: int64, 300"),
        ((*classify, tmp_path / "half.npy", "--signature=encoded"), "Received: float64, 0.5 to 0.5"),
        (("stream", "toy", "--input", tmp_path / "half.npy"), "`step` takes whole numbers"),
        ((*classify, tmp_path / "flat.npy"), r"must be (H, W, C). Received: shape=(4,)"),
        ((*classify, tmp_path / "empty"), "--size brings them to one"),
        ((*classify, array, "--labels", tmp_path / "one.txt"), "has 3 classes. Received: 1 labels"),
        ((*classify, array, "--labels", tmp_path / "none.txt"), "--labels cannot be read"),
        ((*classify, array, "--signature=other"), "Received: --signature other"),
        ((*classify, array, "--signature=step"), "`step` also takes state_0, state_1: all in a .npz"),
        ((*classify, array, "--signature=forecast"), "`forecast` of toy gives frames. Received: classify"),
        (("forecast", "toy", "--input", array, "--signature=init_state"), "Received: forecast"),
        ((*classify, array, "--version=9"), "version 9"),
        (("forecast", "toy", "--input", array, "--frames=8"), "takes 8 frames to go on from. Received: 7"),
        (("stream", "other", "--input", array), "Servable not found"),
        (("stream", "toy", "--input", labels), "a frame at least"),
        (("stream", "toy", "--input", array, "--version=9"), "version 9"),
    ):
        assert told in refused(server, capsys, *words), words


def test_what_is_wrong_with_the_input_is_told_before_a_server_is_asked(capsys, tmp_path):
    (tmp_path / "clip.avi").write_text("no video")
    (tmp_path / "clip.npy").write_text("no array")
    (tmp_path / "clip.npz").write_text("no arrays")
    (tmp_path / "empty").mkdir()
    for name, told in (
        *(("clip.avi", "a frame at least"), ("clip.npy", "as arrays of numbers"), ("clip.npz", "as arrays of numbers")),
        *(("none.avi", "must be a file, a folder"), ("empty", "a frame at least")),
    ):
        with pytest.raises(SystemExit):
            client.main(["classify", "toy", f"--input={tmp_path / name}", "--address=localhost:1"])
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1


def test_an_answer_may_take_as_long_as_the_option_says(capsys, way):
    with socket.create_server(("localhost", 0)) as silent, pytest.raises(SystemExit):
        address = f"--address=localhost:{silent.getsockname()[1]}"
        client.main(["stream", "toy", "--input=0", "--timeout=0.2", address, *(["--rest"] if way == "rest" else [])])
    assert "DEADLINE_EXCEEDED" in (told := capsys.readouterr().err) or "timed out" in told


def test_streams_of_features_are_for_python(capsys, monkeypatch):
    step = {"inputs": {"rgb": ("float32", (None, 8)), "state_0": ("float32", (None, 4))}}
    monkeypatch.setattr(client, "signatures_grpc", lambda **_: (1, {"step": step}))
    with pytest.raises(SystemExit):
        client.main(["stream", "toy", "--input=0"])
    assert "`step` takes more than frames: stream from Python. Received: rgb" in capsys.readouterr().err


def test_every_command_has_its_own_options(capsys):
    for words, told in (
        (("stream", "toy", "--input=0", "--signature=step"), "--signature"),
        (("forecast", "toy", "--input=0", "--labels=x"), "--labels"),
        (("forecast", "toy", "--input=0", "--top=2"), "--top"),
        (("classify", "toy", "--input=0", "--size=4"), "must be HEIGHTxWIDTH. Received: '4'"),
        (("classify", "toy", "--input=0", "--size=0x4"), "Received: '0x4'"),
        (("classify", "toy", "--input=0", "--address=localhost"), "must be HOST:PORT. Received: 'localhost'"),
        (("classify", "toy", "--input=0", "--address=http://a:1"), "must be HOST:PORT"),
        (("classify", "toy", "--input=0", "--frames=0"), "Received: '0'"),
        (("classify", "toy", "--input=0", "--top=-1"), "Received: '-1'"),
        (("classify", "toy"), "--input"),
    ):
        with pytest.raises(SystemExit) as end:
            client.main(words)
        assert end.value.code == 2 and told in capsys.readouterr().err


def test_an_address_has_a_port():
    words = ["classify", "toy", "--input=0"]
    assert client.parse(words).address == "localhost:8500"
    assert client.parse([*words, "--rest"]).address == "localhost:8501"
    assert client.parse([*words, "--rest", "--address=a:1"]).address == "a:1"


def test_a_clip_is_brought_to_what_the_model_takes(tmp_path):
    np.save(tmp_path / "clip.npy", np.arange(6, dtype="uint8")[:, None, None, None] * np.ones((1, 8, 8, 3), "uint8"))
    inputs = {"video": ("uint8", (None, 4, 6, 4, 3)), "length": ("int32", (None,))}
    known = {"serving_default": {"inputs": inputs, "outputs": {"frames": (), "probabilities": ()}}}

    def made(command, *words):
        return client.clip_inputs(client.parse([command, "toy", f"--input={tmp_path / 'clip.npy'}", *words]), known)

    for command, frames in (("classify", [0, 2, 3, 5]), ("forecast", [2, 3, 4, 5])):
        request = made(command)
        assert request["video"].shape == (1, 4, 6, 4, 3) and request["video"][0, :, 0, 0, 0].tolist() == frames
        assert request["length"].tolist() == [4] and request["length"].dtype == np.int32
    for word in ("--frames=5", "--size=8x8"):
        with pytest.raises(client.ServingError, match=f"The model takes .*Received: {word.replace('=', ' ')}"):
            made("classify", word)
    assert made("classify", "--frames=4", "--size=6x4")["video"].shape == (1, 4, 6, 4, 3)
    inputs["video"] = ("uint8", (None, 9, None, None, 3))
    assert made("classify")["video"][0, :, 0, 0, 0].tolist() == [0, 1, 1, 2, 2, 3, 4, 4, 5]
    inputs["video"] = ("uint8", (None, None, None, None, 4))
    with pytest.raises(client.ServingError, match="4 channels"):
        made("classify")
    inputs["video"] = ("uint8", (None, 4, None, None, 3))
    np.save(tmp_path / "clip.npy", np.full((6, 8, 8, 3), 0.5, "float32"))
    with pytest.raises(
        client.ServingError, match="takes whole numbers, 0..255; serving_float 0..1. Received: float32, 0.5 to 0.5"
    ):  # 0.5 would be 0
        made("classify")
    np.save(tmp_path / "clip.npy", np.ones((6, 1024), "float32"))
    np.save(tmp_path / "grey.npy", np.arange(2 * 4 * 5, dtype="uint8").reshape(2, 4, 5))
    known["serving_default"]["inputs"] = {"video": ("uint8", (None, None, None, None, 1))}
    args = client.parse(["forecast", "toy", f"--input={tmp_path / 'grey.npy'}"])
    np.testing.assert_array_equal(client.clip_inputs(args, known)["video"][0, ..., 0].ravel(), np.arange(40))
    known["serving_default"]["inputs"] = {"length": ("int32", (None,)), "rgb": ("float32", (None, None, 1024))}
    assert made("classify")["rgb"].shape == (1, 6, 1024) and made("classify")["length"].tolist() == [6]
    with pytest.raises(client.ServingError, match="no height and width"):
        made("classify", "--size=4x4")


def test_frames_are_encoded_in_colour(tmp_path):
    np.save(tmp_path / "clip.npy", np.full((2, 8, 8, 3), (200, 100, 0), "uint8"))
    known = {
        "serving_default": {"inputs": {"video": ("uint8", (None, None, None, None, 3))}, "outputs": {}},
        "encoded": {"inputs": {"video": ("string", (None, None))}, "outputs": {"probabilities": ()}},
    }
    args = client.parse(["classify", "toy", f"--input={tmp_path / 'clip.npy'}", "--signature=encoded", "--size=4x6"])
    video = client.clip_inputs(args, known)["video"]
    assert video.shape == (1, 2)
    for jpeg in video[0]:
        frame = tf.io.decode_jpeg(jpeg).numpy()
        assert frame.shape == (4, 6, 3)
        np.testing.assert_allclose(frame.mean((0, 1)), (200, 100, 0), atol=3)


def test_labels_of_every_frame():
    outputs = {"probabilities": np.array([[[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]])}
    assert client.tell(outputs, ["a", "b"], 1) == ["0.900 b", "0.800 a", "0.700 b"]
    with pytest.raises(client.ServingError, match="Only a classifier has labels. Received: outputs frames"):
        client.tell({"frames": np.zeros((1, 1))}, ["a"], None)
