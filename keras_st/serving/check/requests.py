"""Requests that an export must answer: drawn for every signature, at every batch, time and size."""

import dataclasses
import itertools

import numpy as np
import tensorflow as tf

from keras_st.serving.c_loader import RequestError
from keras_st.serving.check.graph import FRAME, STATE
from keras_st.serving.check.results import Failed
from keras_st.serving.signatures import client_features
from keras_st.specs import LENGTH

OF_FRAMES = ("init_state", "step")  # signatures that take a frame of every stream
GUESSES = ((12, 16), (4, 16), (10, 32), (16, 32), (16, 64), (16, 112))  # (T, H and W), where features.json says nothing
LEVELS = np.arange(256, dtype="float32")  # of 8-bit pixels, but only those that divide and multiply by 255 to the same
LEVELS = LEVELS[LEVELS / np.float32(255) == LEVELS * (np.float32(1) / np.float32(255))].astype("uint8")
ENCODERS = {"png": tf.io.encode_png, "jpeg": tf.io.encode_jpeg}


@dataclasses.dataclass(frozen=True)
class Point:
    """A place in the grid of sizes.

    Attributes:
        batch: clips.
        frames: of a clip: None as many as the example has, 0 one alone, else so many more than the example.
        is_tall: of twice the example's height.
    """

    batch: int = 1
    frames: int | None = None
    is_tall: bool = False


EXAMPLE = Point()
FEW = (EXAMPLE, Point(2, 3, True))
GRID = tuple(Point(*sizes) for sizes in itertools.product((1, 2, 5), (None, 0, 3), (False, True)))


class Requests:
    """Draws requests for a served model.

    Args:
        model: `ServedModel`.
        told: what features.json says.

    Raises:
        Failed: the model takes no clip that features.json, or else a guess, calls an example.
    """

    def __init__(self, model, told):
        self.model, self.signatures = model, model.signatures
        sent = client_features(told["features"])
        self.first = sent[0].name
        self.features = {feature.name: feature for feature in (*told["features"], *sent)}
        self.computes_flow = "flow" in self.features and "flow" not in {feature.name for feature in sent}
        candidates = [told["example"]] if "example" in told else [self._guess(*sizes) for sizes in GUESSES]
        for candidate in candidates:
            self._example = {name: tuple(shape) for name, shape in candidate.items()}
            try:
                self.run("serving_default", self.draw("serving_default", EXAMPLE))
                return
            except KeyError as error:
                raise Failed(f"the example of features.json must have {error}") from error
            except RequestError as error:
                refused = str(error)
        raise Failed(f"no clip is taken, the last was refused: {refused}")

    def run(self, signature, inputs):
        return self.model.run(signature, inputs)

    def _guess(self, frames, size):
        """Shapes of an example where nothing but the signature and the features say any."""
        example = {}
        for name, tensor in self.signatures["serving_default"].inputs.items():
            known = [a if a is not None else b for a, b in zip(tensor.shape[1:], self.features[name].shape)]
            guess = [frames, size, size] if len(known) == 4 else [frames] * len(known)
            example[name] = (1, *(n if n is not None else g for n, g in zip(known, guess + known[-1:])))
        return example

    @property
    def frames(self):
        """Frames of the example, 0 where clips have none."""
        shape = self._example[self.first]
        return shape[1] if len(shape) > 2 else 0

    def draw(self, signature, point, seed=0):
        """Random inputs of a signature: states that two frames left, encoded images, lengths within the clip."""
        rng = np.random.default_rng([seed, point.batch, point.frames or 0])
        specs = self.signatures[signature].inputs
        inputs = {
            name: self._draw(name, tensor, signature, point, rng)
            for name, tensor in specs.items()
            if not name.startswith(STATE)
        }
        if len(inputs) == len(specs):
            return inputs
        states = self.run("init_state", self.draw("init_state", point, seed))
        return {**inputs, **states_of(self.run(signature, {**inputs, **states}))}

    def _draw(self, name, tensor, signature, point, rng):
        if name == LENGTH.name:
            most = 1 if signature in OF_FRAMES else self._shape(self.first, None, point)[1]
            return rng.integers(1, most + 1, point.batch).astype(tensor.dtype)
        feature, shape = self._feature(name), self._shape(name, tensor, point)
        x = moving(rng, shape) if len(feature.shape) == 4 else rng.random(shape)
        x = x[:, 0] if self._is_frame(name, signature) else x
        if tensor.dtype in ("uint8", "string"):
            pixels = LEVELS[(x * (len(LEVELS) - 1)).astype(int)]
            return pixels if tensor.dtype == "uint8" else encoded(pixels, "png")
        low, high = feature.value_range or (-2.0, 2.0)
        if feature.value_range and (signature == "serving_float" or feature.dtype == "uint8"):
            low, high = 0.0, 1.0
        return (low + (high - low) * x).astype(tensor.dtype)

    def sizes(self, signature, point):
        """Shapes of a signature's inputs at a point, of encoded images those of their pixels."""
        sizes = {}
        for name, tensor in self.signatures[signature].inputs.items():
            if name != LENGTH.name and not name.startswith(STATE):
                batch, *clip = self._shape(name, tensor, point)
                sizes[name] = (batch, *(clip[1:] if self._is_frame(name, signature) else clip))
        return tuple(sizes.items())

    def _feature(self, name):
        return self.features[self.first if name == FRAME else name]

    def _is_frame(self, name, signature):
        return signature in OF_FRAMES and len(self._feature(name).shape) > 1

    def _shape(self, name, tensor, point):
        """Shape (B, T, ...) of a feature at a point of the grid; sizes that the signatures fix stay."""
        name = self._feature(name).name
        whole = self.signatures["serving_default"].inputs.get(name, tensor).shape
        like = self._example.get(name) or (*self._example[self.first][:-1], None)
        shape = [point.batch, *(size or n for size, n in zip(whole[1:], like[1:]))]
        if len(shape) > 2 and whole[1] is None and point.frames is not None:
            shape[1] = shape[1] + point.frames if point.frames else 1
        if len(shape) > 4 and whole[2] is None and point.is_tall:
            shape[2] *= 2
        return tuple(shape)

    def cut(self, clips, frames):
        """The first frames of clips; None: all. `length` says that all of them count."""
        parts = {name: x[:, :frames] if x.ndim > 2 else x for name, x in clips.items()}
        if LENGTH.name in parts:
            parts[LENGTH.name] = np.full_like(parts[LENGTH.name], parts[self.first].shape[1])
        return parts


def moving(rng, shape):
    """Clouds in 0..1 that move a pixel a frame, on a slope: flow is well-defined of them, coordinates rise."""
    x = rng.random((shape[0], *shape[2:]))
    for axis in (1, 2):
        x = sum(np.roll(x, shift, axis) for shift in range(-2, 3))
    x = (x - x.min()) / max(np.ptp(x), 1e-6)
    clouds = np.stack([np.roll(x, t, axis=2) for t in range(shape[1])], axis=1)
    rows, columns = (np.linspace(0, 1, n) for n in shape[2:4])
    return 0.3 * clouds + 0.35 * (rows[:, None, None] + columns[:, None])


def states_of(outputs):
    return {name: x for name, x in outputs.items() if name.startswith(STATE)}


def encoded(images, kind):
    """Images uint8 (..., H, W, C), each encoded, as bytes (...)."""
    flat = images.reshape(-1, *images.shape[-3:])
    return np.array([ENCODERS[kind](image).numpy() for image in flat], object).reshape(images.shape[:-3])


def decoded(images, channels):
    """Encoded images (...) as uint8 (..., H, W, C)."""
    flat = [tf.io.decode_image(image, channels, expand_animations=False).numpy() for image in images.flat]
    return np.stack(flat).reshape(*images.shape, *flat[0].shape)
