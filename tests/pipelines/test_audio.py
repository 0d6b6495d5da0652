"""Log-mel features against a plain NumPy computation, on tones, and in a graph."""

import numpy as np
import pytest
import tensorflow as tf

from keras_st.specs import InputError
from pipelines.audio import log_mel


def plain(waveform, rate, bands, window, hop, low, high):
    """The same by loops; triangles are linear in mel, and the constant part of a window counts nowhere."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    size = 2 ** int(np.ceil(np.log2(window)))
    mel = 1127 * np.log(1 + np.arange(size // 2 + 1) * rate / size / 700)
    edges = np.linspace(*(1127 * np.log(1 + f / 700) for f in (low, high)), bands + 2)
    seconds = {}
    for start in range(0, len(waveform) - window + 1, hop):
        spectrum = np.abs(np.fft.rfft(waveform[start : start + window] * hann, size))
        row = []
        for left, middle, right in zip(edges, edges[1:], edges[2:]):
            weights = np.minimum((mel - left) / (middle - left), (right - mel) / (right - middle)).clip(0)
            row.append(np.log((spectrum * weights)[1:].sum() + 0.01))
        seconds.setdefault(start // rate, []).append(row)
    return np.array([np.mean(rows, axis=0) for _, rows in sorted(seconds.items())])


@pytest.mark.parametrize("rate, length, bands", [(16000, 40_000, 128), (8000, 8000, 40), (22050, 50_001, 64)])
def test_it_is_what_numpy_computes(rng, rate, length, bands):
    waveform = rng.normal(0, 0.2, length)
    found = log_mel(waveform, rate, bands=bands, window_seconds=0.1, hop_seconds=0.05, high_hz=rate / 2).numpy()
    want = plain(waveform, rate, bands, round(0.1 * rate), round(0.05 * rate), 125, rate / 2)
    assert found.shape == want.shape == (len(want), bands) and found.dtype == np.float32
    np.testing.assert_allclose(found, want, atol=2e-4)


def test_a_tone_is_in_its_band():
    """1 kHz for two seconds, then 3 kHz: the loudest of 128 bands holds the tone."""
    time = np.arange(5 * 16000) / 16000
    rows = log_mel(np.where(time < 2, np.sin(2000 * np.pi * time), np.sin(6000 * np.pi * time)), 16000).numpy()
    edges = np.linspace(*(1127 * np.log(1 + f / 700) for f in (125, 7500)), 130)
    assert rows.shape == (5, 128)
    for row, tone in zip(rows[[0, 4]], (1000, 3000)):
        mel, loudest = 1127 * np.log(1 + tone / 700), row.argmax()
        assert edges[loudest] < mel < edges[loudest + 2]
    np.testing.assert_allclose(log_mel(np.zeros(16000), 16000), np.log(0.01), rtol=1e-6)


@pytest.mark.parametrize("length, rows", [(0, 0), (1023, 0), (1024, 1), (16000, 1), (17024, 2), (48000, 3)])
def test_rows_are_seconds(length, rows):
    assert log_mel(np.zeros(length, np.float32), 16000).shape == (rows, 128)
    assert log_mel(np.zeros(length), 16000, bands=20, window_seconds=0.06).shape == (rows or length > 960, 20)


def test_it_runs_in_a_graph_on_any_length(rng):
    sounds = [rng.normal(size=n).astype("float32") for n in (16000, 40_000)]
    dataset = tf.data.Dataset.from_generator(lambda: sounds, output_signature=tf.TensorSpec((None,), tf.float32))
    for sound, rows in zip(sounds, dataset.map(lambda sound: log_mel(sound, 16000))):
        np.testing.assert_allclose(rows, log_mel(sound, 16000), atol=1e-5)


@pytest.mark.parametrize(
    "waveform, options, message",
    [
        (np.zeros((2, 9)), {}, "float64 .2, 9."),
        (np.zeros(9, np.int16), {}, "Received: int16"),
        (np.zeros(9), {"high_hz": 8001}, "high_hz=8001"),
        (np.zeros(9), {"hop_seconds": 0}, "hop_seconds=0"),
        (np.zeros(9), {"window_seconds": 1e-6}, "window_seconds=1e-06"),
        (np.zeros(9), {"bands": 0}, "bands=0"),
        (np.zeros(9), {"window_seconds": 0.01}, "fewer bands or longer windows.*of 128 without one"),
    ],
)
def test_mistakes_are_named(waveform, options, message):
    with pytest.raises(InputError, match=message):
        log_mel(waveform, 16000, **options)
