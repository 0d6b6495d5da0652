"""HURDAT2: best tracks of tropical cyclones (C. W. Landsea, J. L. Franklin, Mon. Wea. Rev. 141, 2013).

Text of the US National Hurricane Center, nhc.noaa.gov/data, read as published; a US government work. A storm is a line
with its id, name and number of entries, then a line an entry:

    AL092011,              IRENE,     43,
    20110821, 0000,  , TS, 15.0N,  59.0W,  45, 1006,  105,    0,    0,   45,    0,  ... (12 radii)
    20110821, 0600,  , TS, 16.0N,  60.6W,  45, 1006,  130,    0,    0,   80,    0,  ...

date, time (UTC), what the entry records (L: landfall; the others see `RECORDS`), status, latitude, longitude, highest
1-minute wind (knots), lowest pressure (hPa), then the radii of 34, 50 and 64 knots to the north-east, south-east,
south-west and north-west (nautical miles). -999 is missing, also -99 for a wind. Lines of newer files end with the
radius of highest wind, which is not read. Old tracks that pass Greenwich count on to 359.1W, which is 0.9E.
"""

import dataclasses
import datetime
import pathlib
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from keras_st.specs import InputError

# Seasons. The split is our own: no storm and no season is in two of them.
SPLITS = {"train": range(1851, 2012), "validation": range(2012, 2015), "test": range(2015, 2019)}

STATUSES = {
    "TD": "tropical depression, below 34 knots",
    "TS": "tropical storm, 34 to 63 knots",
    "HU": "hurricane, 64 knots and more",
    "SD": "subtropical depression",
    "SS": "subtropical storm",
    "EX": "extratropical cyclone",
    "LO": "low of none of these kinds",
    "WV": "tropical wave",
    "DB": "disturbance",
    "ET": "one entry of 1993, not in the format's list; probably extratropical",
}
# What a forecast is scored on, as the National Hurricane Center does: tropical and subtropical cyclones.
TROPICAL = ("TD", "TS", "HU", "SD", "SS")
RECORDS = "CGILPRSTW"  # closest to a coast, genesis, intensity peak, landfall, lowest pressure, ...
STEP_HOURS = 6  # between synoptic times

HEADER = re.compile(r"([A-Z]{2}\d{6}),\s*([^,\s][^,]*?)\s*,\s*(\d{1,5})\s*,?\s*", re.ASCII)
DIGITS = re.compile(r"\d{12}", re.ASCII)
NUMBER = re.compile(r"-?\d{1,4}", re.ASCII)
DEGREES = re.compile(r"(\d{1,3}(?:\.\d+)?)([NSEW])", re.ASCII)


@dataclass(frozen=True, eq=False)
class Storm:
    """The track of a storm, N entries in the order of time.

    Args:
        id: basin, number in the season, season: "AL122005".
        name: "KATRINA"; "UNNAMED" where it has none.
        times: datetime64[s] (N,), UTC, ascending.
        status: str (N,), of `STATUSES`.
        latitude: float64 (N,) degrees, north positive.
        longitude: float64 (N,) degrees in [-180, 180), west negative.
        wind_knots: float64 (N,), highest 1-minute mean; NaN: not known.
        pressure_hpa: float64 (N,), lowest at sea level; NaN: not known.
        radii_nmi: float64 (N, 3, 4) nautical miles: of 34, 50, 64 knots to the NE, SE, SW, NW; NaN: not known.
    """

    id: str
    name: str
    times: np.ndarray
    status: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    wind_knots: np.ndarray
    pressure_hpa: np.ndarray
    radii_nmi: np.ndarray

    def __len__(self):
        return len(self.times)

    @property
    def season(self):
        """Year the storm is counted in, which its last entries may not be of."""
        return int(self.id[4:])

    def where(self, chosen):
        """The storm with the entries of a mask (N,)."""
        arrays = {k: v[chosen] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return dataclasses.replace(self, **arrays)


def read_hurdat2(path):
    """The storms of a file, `[Storm]`, in its order.

    Raises:
        InputError: no such file, none of UTF-8 text, or one without storms; a line that is neither a header nor a whole
            entry; a storm with other than its number of entries, with times that do not ascend, or twice. The message
            has the file and the line's number.
    """
    path = pathlib.Path(path)
    found = []  # line, (id, name, number of entries) and the entries of each storm
    for number, line in enumerate(_lines(path), start=1):
        refuse = _Refusal(path, number)
        if not line[:1].isdigit():
            found.append((number, _header(refuse, line), []))
        elif not found:
            raise refuse("a header: AL092011, IRENE, 39,", line)
        else:
            found[-1][2].append(_entry(refuse, line))
            if len(found[-1][2]) > 1 and not found[-1][2][-2][0] < found[-1][2][-1][0]:
                raise refuse("an entry later than the one before it", line[:14])
    known = set()
    for number, (name, _, count), entries in found:
        if name in known:
            raise _Refusal(path, number)("the header of a storm that was not there before", name)
        if not entries or len(entries) != count:
            raise _Refusal(path, number)(f"followed by its {count} entries, one or more", len(entries))
        known.add(name)
    return [Storm(header[0], header[1], *map(np.array, zip(*entries))) for _, header, entries in found]


def synoptic(storm):
    """The storm at 00, 06, 12 and 18 UTC only: without landfalls and peaks between them."""
    return storm.where((storm.times - storm.times.astype("datetime64[D]")) % np.timedelta64(STEP_HOURS, "h") == 0)


def seasons(storms, years):
    """The storms of the years, e.g. of `SPLITS["test"]`: `[Storm]`. The year is that of the id."""
    years = set(years)
    return [storm for storm in storms if storm.season in years]


class TrackWindows(NamedTuple):
    """N pieces of tracks: what is known and what is to be forecast.

    `past` float64 (N, past, 2) latitude, longitude every 6 hours, oldest first; `future` float64 (N, leads, 2) at the
    leads after the last of them; `ids` str (N,) of the storms; `years` int64 (N,), their seasons.
    """

    past: np.ndarray
    future: np.ndarray
    ids: np.ndarray
    years: np.ndarray


def track_windows(storms, past=5, leads_hours=(6, 12, 24, 48)):
    """All pieces of tracks of one length: `TrackWindows`, by storms, then by time; a piece begins at every fix.

    A piece has a fix at each synoptic time from its first to its last lead, and at all of them the storm is tropical or
    subtropical (`TROPICAL`): extratropical cyclones, lows, waves and disturbances are left out, and pieces that go
    through them. All leads are of the same pieces, so of storms that live long enough for the last.

    Args:
        storms: `[Storm]`, e.g. `seasons(storms, SPLITS["train"])`: pieces of a season are of one split.
        past: known fixes, 6 hours apart.
        leads_hours: after the last known fix; multiples of 6.

    Raises: InputError: `past` below 1; leads that are not multiples of 6 above 0, or none.
    """
    if past < 1:
        raise InputError(f"`past` must be at least 1. Received: past={past}")
    leads = np.asarray(leads_hours)
    if leads.ndim != 1 or not len(leads) or leads.min() <= 0 or (leads % STEP_HOURS).any():
        raise InputError(f"`leads_hours` must be multiples of {STEP_HOURS} above 0. Received: {leads_hours}")
    offsets = past - 1 + leads.astype(int) // STEP_HOURS
    span = int(offsets.max())  # steps from the first fix to the last
    found = []
    for storm in storms:
        fixes = synoptic(storm.where(np.isin(storm.status, TROPICAL)))
        steps = fixes.times.astype("datetime64[h]").astype(int) // STEP_HOURS
        positions = np.stack([fixes.latitude, fixes.longitude], axis=-1)
        for first in range(len(steps) - span):
            if steps[first + span] - steps[first] == span:  # times ascend, so none is left out
                chosen = positions[first:]
                found.append((chosen[:past], chosen[offsets], storm.id, storm.season))
    known, future, ids, years = zip(*found) if found else ((), (), (), ())
    return TrackWindows(
        np.array(known, np.float64).reshape(-1, past, 2),
        np.array(future, np.float64).reshape(-1, len(leads), 2),
        np.array(ids, str),
        np.array(years, np.int64),
    )


# Lines


class _Refusal(NamedTuple):
    """Makes the error for a line."""

    path: pathlib.Path
    number: int

    def __call__(self, expected, received):
        received = received[:80] if isinstance(received, str) else received
        return InputError(f"{self.path} line {self.number} must be {expected}. Received: {received!r}")


def _lines(path):
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} must be a HURDAT2 text file. Received: {error.strerror}") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise _Refusal(path, number)("UTF-8 text", data[error.start : error.start + 1]) from error
    lines = [line.rstrip("\r") for line in text.rstrip().split("\n")]
    if lines == [""]:
        raise InputError(f"{path} must hold storms. Received: an empty file")
    return lines


def _header(refuse, line):
    """`(id, name, entries)`."""
    found = HEADER.fullmatch(line)
    if not found:
        raise refuse("a header such as AL092011, IRENE, 39, or an entry that begins with its date", line)
    return found[1], found[2], int(found[3])


def _entry(refuse, line):
    """`(time, status, latitude, longitude, wind, pressure, radii (3, 4))`."""
    fields = [field.strip() for field in line.split(",")]
    if not fields[-1]:  # lines may end with a comma
        fields.pop()
    if len(fields) not in (20, 21):
        raise refuse("an entry of 20 fields, or 21 with the radius of highest wind", line)
    for radius in fields[20:]:
        _number(refuse, "radius of highest wind", radius)
    day, clock, record, status, latitude, longitude, wind, pressure, *radii = fields[:20]
    if len(record) > 1 or record not in RECORDS:
        raise refuse(f"an entry whose third field is empty or one of {RECORDS}", record)
    if status not in STATUSES:
        raise refuse(f"an entry with a status of {', '.join(STATUSES)}", status)
    return (
        _time(refuse, day, clock),
        status,
        _degrees(refuse, "latitude", latitude, "NS", 90),
        _degrees(refuse, "longitude", longitude, "EW", 360),
        _number(refuse, "wind", wind, (-999, -99)),
        _number(refuse, "pressure", pressure),
        np.array([_number(refuse, "radius", radius) for radius in radii]).reshape(3, 4),
    )


def _time(refuse, day, clock):
    try:
        if not (DIGITS.fullmatch(day + clock) and len(day) == 8):
            raise ValueError
        return np.datetime64(datetime.datetime.strptime(day + clock, "%Y%m%d%H%M"), "s")
    except ValueError:
        raise refuse("an entry with a date YYYYMMDD and a time HHMM", f"{day}, {clock}") from None


def _degrees(refuse, name, text, directions, largest):
    found = DEGREES.fullmatch(text)
    if not found or found[2] not in directions or float(found[1]) > largest:
        ends = " or ".join(directions)
        raise refuse(f"an entry with a {name} of 0 to {largest} degrees {ends}", text)
    degrees = float(found[1]) if found[2] in "NE" else -float(found[1])
    return degrees if -180 <= degrees < 180 else (degrees + 180) % 360 - 180


def _number(refuse, name, text, missing=(-999,)):
    if not NUMBER.fullmatch(text) or (int(text) < 0 and int(text) not in missing):
        none = " or ".join(map(str, missing))
        raise refuse(f"an entry with a {name} that is a whole number, 0 or more, or {none}", text)
    return float(text) if int(text) >= 0 else float("nan")
