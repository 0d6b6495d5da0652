"""Sound to features at a rate of one row a second, in the graph."""

import numpy as np
import tensorflow as tf

from keras_st.specs import InputError

FLOOR = 0.01  # what is added before the logarithm


def log_mel(
    waveform,
    sample_rate: int,
    *,
    bands: int = 128,
    window_seconds: float = 0.064,
    hop_seconds: float = 0.01,
    low_hz: float = 125.0,
    high_hz: float = 7500.0,
):
    """Logarithms of the energy in mel bands, a row a second: what stands in for a learnt network's audio features.

    The magnitudes of the short-time Fourier transform (Hann windows) are summed in triangles, evenly spaced on the mel
    scale `1127 ln(1 + f / 700)`, 0.01 is added, and of the logarithms of all windows that start in a second the mean is
    taken. VGGish sees the same bands (64 of them, windows of 0.025 s), not their means.

    Args:
        waveform: float (N,), one channel, -1..1; N may be unknown.
        sample_rate: samples a second.
        bands: numbers a row.
        window_seconds: length of a window, rounded to samples.
        hop_seconds: from one window to the next, rounded to samples.
        low_hz: lower end of the first band.
        high_hz: upper end of the last one, half the sample rate at most.

    Returns: float32 (T, bands), T the number of seconds in which a window starts that lies within the sound.

    Raises: InputError: a waveform of another kind; bands of which one would hold no frequency.
    """
    waveform = tf.convert_to_tensor(waveform)
    if waveform.shape.rank != 1 or not waveform.dtype.is_floating:
        raise InputError(f"`waveform` must be float (N,). Received: {waveform.dtype.name} {waveform.shape}")
    window, hop = (round(seconds * sample_rate) for seconds in (window_seconds, hop_seconds))
    if window < 1 or not 1 <= hop <= sample_rate or bands < 1 or not 0 <= low_hz < high_hz <= sample_rate / 2:
        raise InputError(
            "Windows and hops last a sample at least, hops a second at most, bands rise and end at half the sample "
            f"rate. Received: sample_rate={sample_rate}, window_seconds={window_seconds}, hop_seconds={hop_seconds}, "
            f"bands={bands}, low_hz={low_hz}, high_hz={high_hz}"
        )
    size = 1 << (window - 1).bit_length()  # of the transform
    with tf.init_scope():
        mel = tf.signal.linear_to_mel_weight_matrix(bands, size // 2 + 1, sample_rate, low_hz, high_hz).numpy()
    if empty := int(np.sum(~mel.any(axis=0))):
        raise InputError(
            "Every band must hold a frequency: take fewer bands or longer windows. "
            f"Received: {empty} of {bands} without one, window_seconds={window_seconds}"
        )
    samples = tf.size(waveform)
    waveform = tf.pad(tf.cast(waveform, tf.float32), [[0, tf.maximum(window - samples, 0)]])  # a window at least
    spectrum = tf.abs(tf.signal.stft(waveform, window, hop, size, _hann))
    rows = tf.math.log(spectrum @ tf.constant(mel) + FLOOR)[: (samples - window + hop) // hop]
    return tf.math.segment_mean(rows, tf.range(tf.shape(rows)[0]) * hop // sample_rate)


def _hann(length, dtype):
    """The periodic window; `tf.signal.hann_window` gives the symmetric one where the length is odd."""
    return 0.5 - 0.5 * tf.cos(2 * np.pi * tf.cast(tf.range(length) / length, dtype))
