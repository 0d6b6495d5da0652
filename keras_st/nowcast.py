"""Forecasts of rain from NumPy to NumPy, and to and from pysteps.

from keras_st import nowcast
rain = nowcast.forecast("runs/radar_nowcast/<id>", fields, step_minutes=5)      # (12, y, x), mm/h
"""

import numpy as np

from keras_st import saved
from keras_st.specs import InputError, MissingExtra, every_nth

DRY = 0.005  # mm/h: lower rates are 0, as in the hundredths of a mm/h of training


def forecast(model, fields, step_minutes=5.0, horizon=None, unit="mm/h", zr=(223.0, 1.53)):
    """The fields of rain that follow.

    Args:
        model: what `keras_st.saved.load` gives of a radar_nowcast, or its path.
        fields: numbers (time, y, x), oldest first, of any size; NaN, or masked, where missing; values below 0 count as
            missing (in dBZ they are rain), rates below 0.005 mm/h as dry. At least the fields the model reads.
        step_minutes: from field to field. If the model's step is a multiple of it, every so-manieth field is read;
            it may also differ from the model's step by the `step_tolerance` of its training.
        horizon: fields to forecast, as far apart as those that are read; None: as trained.
        unit: "mm/h", or "dBZ", of fields and forecast: `Z = a R^b`, no rain is -32 dBZ.
        zr: a and b.

    Returns: float32 (horizon, y, x) in `unit`, 0 or more mm/h. Cells that the last field misses are masked in a masked
        array where `fields` is one, else NaN.

    Raises: InputError: not such a model, another shape, step, or unit; too few fields, or a last one without a cell.
    """
    model = saved.load(model) if not isinstance(model, saved.SavedModel) else model
    if not (isinstance(model, saved.SavedForecaster) and model.feature.missing and model.feature.unit == "mm/h"):
        raise InputError(f"A forecast of rain needs a trained radar_nowcast. Received: {model.path}")
    if unit not in ("mm/h", "dBZ"):
        raise InputError(f'`unit` must be "mm/h" or "dBZ". Received: unit={unit!r}')
    masked = isinstance(fields, np.ma.MaskedArray)
    rate = np.ma.filled(np.ma.asarray(fields, "float64"), np.nan)
    if rate.ndim != 3 or 0 in rate.shape:
        raise InputError(f"`fields` must be (time, y, x). Received: shape={rate.shape}")
    if unit == "dBZ":
        rate = (10 ** (rate / 10) / zr[0]) ** (1 / zr[1])
    rate = np.where((rate >= 0) & (rate < DRY), 0.0, rate)  # dry cells would else count as echoes that stand still
    every = _every(model, step_minutes)
    rate = rate[::-1][::every][::-1]
    unseen = ~(np.isfinite(rate[-1]) & (rate[-1] >= 0))  # from which nothing starts
    if unseen.all():
        raise InputError("The last of `fields` must have cells that are not missing. Received: none")
    found = model.predict(rate[..., None].astype("float32"), horizon)[..., 0]
    if unit == "dBZ":
        found = np.maximum(10 * np.log10(np.maximum(zr[0] * found ** zr[1], 1e-9)), -32.0)
    unseen = np.broadcast_to(unseen, found.shape)
    return np.ma.masked_array(found, unseen) if masked else np.where(unseen, np.float32(np.nan), found)


def _every(model, step_minutes):
    """Fields from one that is read to the next."""
    data = (model.recipe or {}).get("data", {})
    wanted = data.get("step_minutes") or step_minutes
    every = every_nth(step_minutes, wanted, data.get("step_tolerance", 0))
    if not every:
        raise InputError(f"The model's fields are {wanted:g} minutes apart. Received: step_minutes={step_minutes}")
    return every


def pysteps_method(model, step_minutes=5.0):
    """A nowcast method for pysteps: `method(precip, velocity, timesteps)` -> (timesteps, y, x) in mm/h.

    precip: (time, y, x) in mm/h; velocity is not read, the model finds its own; timesteps: int. To choose it by name:

        pysteps.nowcasts.interface._nowcast_methods["keras_st"] = nowcast.pysteps_method("runs/radar_nowcast/<id>")
        pysteps.nowcasts.get_method("keras_st")
    """
    model = saved.load(model) if not isinstance(model, saved.SavedModel) else model

    def method(precip, velocity, timesteps):
        return forecast(model, precip, step_minutes, timesteps)

    return method


def pysteps_extrapolation(fields, horizon):
    """pysteps's own extrapolation of fields (time, y, x) in mm/h, NaN where missing or masked: float32 (horizon, y, x).

    Lucas-Kanade motion of the last three fields in decibels (rates below 0.1 mm/h are -15), semi-Lagrangian; NaN where
    rain would come from beyond the border. Missing cells are taken for dry.

    Raises: MissingExtra: pysteps is not installed.
    """
    try:
        from pysteps import motion, nowcasts
        from pysteps.utils.transformation import dB_transform
    except ImportError as error:
        raise MissingExtra("This needs pysteps (pip install 'keras_st[pysteps]'). Received: not installed") from error
    rate = np.nan_to_num(np.ma.filled(np.ma.asarray(fields, "float64"), 0.0))
    decibels, _ = dB_transform(rate[-3:], threshold=0.1, zerovalue=-15.0)
    velocity = motion.get_method("LK")(decibels, verbose=False)
    return nowcasts.get_method("extrapolation")(rate[-1], velocity, horizon).astype("float32")
