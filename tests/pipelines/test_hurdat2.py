"""HURDAT2: tracks written by hand, every kind of damage, the published file."""

import os
import pathlib

import numpy as np
import pytest

from keras_st.specs import InputError
from pipelines.datasets import hurdat2 as module
from pipelines.datasets.hurdat2 import SPLITS, Storm, read_hurdat2, seasons, synoptic, track_windows

DATA = pathlib.Path(os.environ.get("KERAS_ST_DATA", ""))
NONE = ", ".join(["-999"] * 12)
TEXT = f"""\
AL052013,              ERNST,      4,
20130830, 1800,  , TD, 16.1N,  26.9W,  30, 1008, {NONE},
20130831, 0000,  , TS, 16.2N,  28.3W,  35, -999,   30,   20,   10,    5,    0,    0,    0,    0, -999, -999, -999, -999,
20130831, 0430, L, HU,  1.5S, 179.9E,  65,  985,  120,  110,   90,  100,   60,   50,   40,   45,   30,   25,   20,   15,
20130831, 0600,  , EX, 60.0N, 359.1W, -99,  990, {NONE},
AL062015,            UNNAMED,      1,
20150101, 1200,  , DB,  0.0N,   0.0E,-999, -999, {NONE},{" "}
"""


def written(tmp_path, text, name="tracks.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def times(*values):
    return np.array(values, "datetime64[s]")


def test_what_is_read(tmp_path):
    storm, other = read_hurdat2(written(tmp_path, TEXT))
    assert (storm.id, storm.name, storm.season, len(storm)) == ("AL052013", "ERNST", 2013, 4)
    expected = times("2013-08-30T18:00", "2013-08-31T00:00", "2013-08-31T04:30", "2013-08-31T06:00")
    np.testing.assert_array_equal(storm.times, expected)
    assert storm.times.dtype == "datetime64[s]" and storm.status.tolist() == ["TD", "TS", "HU", "EX"]
    np.testing.assert_array_equal(storm.latitude, [16.1, 16.2, -1.5, 60.0])
    np.testing.assert_allclose(storm.longitude, [-26.9, -28.3, 179.9, 0.9], rtol=1e-12)
    np.testing.assert_array_equal(storm.wind_knots, [30, 35, 65, np.nan])
    np.testing.assert_array_equal(storm.pressure_hpa, [1008, np.nan, 985, 990])
    assert storm.radii_nmi.shape == (4, 3, 4) and np.isnan(storm.radii_nmi[[0, 3]]).all()
    np.testing.assert_array_equal(storm.radii_nmi[1], [[30, 20, 10, 5], [0] * 4, [np.nan] * 4])
    np.testing.assert_array_equal(storm.radii_nmi[2], [[120, 110, 90, 100], [60, 50, 40, 45], [30, 25, 20, 15]])
    for name in ("latitude", "longitude", "wind_knots", "pressure_hpa", "radii_nmi"):
        assert getattr(storm, name).dtype == np.float64
    assert (other.id, other.name, len(other), other.latitude[0], other.longitude[0]) == ("AL062015", "UNNAMED", 1, 0, 0)
    assert np.isnan(other.wind_knots[0]) and other.radii_nmi.shape == (1, 3, 4)


def test_line_ends_and_the_radius_of_highest_wind(tmp_path):
    storms = read_hurdat2(written(tmp_path, TEXT))
    for text in (
        TEXT.replace("\n", "\r\n"),
        TEXT.rstrip(),
        TEXT + "\n\n",
        "\n".join(line.rstrip(", ") for line in TEXT.splitlines()),
        TEXT.replace("-999,\n", "-999,  15\n"),
        TEXT.replace("-999,\n", "-999,  -999,\n"),
    ):
        for one, two in zip(storms, read_hurdat2(written(tmp_path, text)), strict=True):
            for name, value in vars(one).items():
                np.testing.assert_array_equal(value, getattr(two, name))


# What is refused

ENTRY = f"20130830, 1800,  , TD, 16.1N,  26.9W,  30, 1008, {NONE},"


def changed(old, new):
    """A storm of two entries, the second of which is damaged: line 3 of the file."""
    assert old in ENTRY
    return f"AL052013, ERNST, 2,\n{ENTRY.replace('1800', '1200')}\n{ENTRY.replace(old, new, 1)}\n"


@pytest.mark.parametrize(
    "text, line, told",
    [
        ("", None, "an empty file"),
        (" \n\r\n", None, "an empty file"),
        (b"AL052013, ERNST, 1,\nAB\xff\n", 2, "UTF-8 text. Received: b'\\xff'"),
        (ENTRY, 1, "a header: AL092011"),
        ("Date,Time,Name\n", 1, "a header such as"),
        ("\n" + TEXT, 1, "a header such as"),
        ("al052013, ERNST, 1,\n" + ENTRY, 1, "a header such as"),
        ("AL05213, ERNST, 1,\n" + ENTRY, 1, "a header such as"),
        ("AL052013, ERNST,\n" + ENTRY, 1, "a header such as"),
        ("AL052013, , 1,\n" + ENTRY, 1, "a header such as"),
        ("AL052013, ERNST, one,\n" + ENTRY, 1, "a header such as"),
        ("AL052013, ERNST, -1,\n" + ENTRY, 1, "a header such as"),
        (f"AL052013, ERNST, {'9' * 5000},\n" + ENTRY, 1, "a header such as"),
        (TEXT.replace("AL06", "A06"), 6, "a header such as"),
        (TEXT.replace("AL062015", "AL052013"), 6, "not there before. Received: 'AL052013'"),
        ("AL052013, ERNST, 0,\n", 1, "followed by its 0 entries, one or more. Received: 0"),
        ("AL052013, ERNST, 2,\n" + ENTRY, 1, "followed by its 2 entries, one or more. Received: 1"),
        (TEXT.replace("     4,", "     5,"), 1, "its 5 entries, one or more. Received: 4"),
        (TEXT.replace("     4,", "     3,"), 1, "its 3 entries, one or more. Received: 4"),
        (TEXT.replace("     1,", "     2,"), 6, "its 2 entries, one or more. Received: 1"),
        (changed("20130830", "2013083"), 3, "date YYYYMMDD and a time HHMM. Received: '2013083, 1800'"),
        (changed("20130830", "20130231"), 3, "'20130231, 1800'"),
        (changed("20130830", "201308301"), 3, "a date YYYYMMDD"),
        (changed("1800", "2400"), 3, "'20130830, 2400'"),
        (changed("1800", "18:0"), 3, "a time HHMM"),
        (changed("1800", "180"), 3, "a time HHMM"),
        (changed("1800", "١٨٠٠"), 3, "a time HHMM"),
        (changed("1800", "1200"), 3, "later than the one before it"),
        (changed("1800", "0600"), 3, "later than the one before it. Received: '20130830, 0600'"),
        (changed("  , TD", " X, TD"), 3, "third field is empty or one of CGILPRSTW. Received: 'X'"),
        (changed("  , TD", "CG, TD"), 3, "Received: 'CG'"),
        (changed("TD", "XX"), 3, "a status of TD, TS, HU.*Received: 'XX'"),
        (changed("TD", ""), 3, "a status of"),
        (changed("16.1N", "16.1"), 3, "latitude of 0 to 90 degrees N or S. Received: '16.1'"),
        (changed("16.1N", "16.1W"), 3, "latitude"),
        (changed("16.1N", "-16.1N"), 3, "latitude"),
        (changed("16.1N", "90.1N"), 3, "latitude"),
        (changed("16.1N", "nanN"), 3, "latitude"),
        (changed("26.9W", "26.9N"), 3, "longitude of 0 to 360 degrees E or W. Received: '26.9N'"),
        (changed("26.9W", "360.1W"), 3, "longitude"),
        (changed("26.9W", ""), 3, "longitude"),
        (changed(" 30,", "x,"), 3, "a wind that is a whole number, 0 or more, or -999 or -99. Received: 'x'"),
        (changed(" 30,", "-1,"), 3, "wind"),
        (changed(" 30,", "30.5,"), 3, "wind"),
        (changed(" 30,", ","), 3, "wind"),
        (changed("1008", "-99"), 3, "a pressure that is a whole number, 0 or more, or -999. Received: '-99'"),
        (changed("1008", "10_8"), 3, "pressure"),
        (changed("-999", "-1"), 3, "a radius that is a whole number"),
        (changed("-999", "34kt"), 3, "Received: '34kt'"),
        (changed(" -999,", ""), 3, "an entry of 20 fields"),
        (changed("-999,", "-999, -999, -999,"), 3, "an entry of 20 fields"),
        (changed("-999,", "-999, 12.5,"), 3, "a radius that is a whole number"),
        (f"AL052013, ERNST, 1,\n{ENTRY} 1.5", 2, "a radius of highest wind that is a whole number"),
        ("AL052013, ERNST, 1,\n20130830", 2, "an entry of 20 fields"),
        ("AL052013, ERNST, 1,\n²0130830" + ENTRY[8:], 2, "a date"),
    ],
)
def test_damage_is_named_by_its_line(tmp_path, text, line, told):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=told if "*" in told else None) as error:
        read_hurdat2(path)
    message = str(error.value)
    assert "\n" not in message and "Received: " in message and len(message) < 400 + len(str(path))
    assert message.startswith(f"{path} line {line} must be " if line else f"{path} must ")
    assert "*" in told or told in message


def test_no_file(tmp_path):
    for path in (tmp_path / "none.txt", str(tmp_path)):
        with pytest.raises(InputError, match="must be a HURDAT2 text file. Received: ") as error:
            read_hurdat2(path)
        assert str(path) in str(error.value)


# Pieces of tracks


def storm(hours, status="TS", name="AL012015", start="2015-09-01T00"):
    """Entries at hours after a start; latitude 10 + hours / 6, longitude -40 - hours / 6."""
    hours = np.asarray(hours)
    n = len(hours)
    return Storm(
        name,
        "A",
        np.datetime64(start, "s") + hours.astype("timedelta64[h]"),
        np.broadcast_to(np.asarray(status, "U2"), n).copy(),
        10 + hours / 6,
        -40 - hours / 6,
        np.full(n, 40.0),
        np.full(n, 1000.0),
        np.full((n, 3, 4), np.nan),
    )


def test_synoptic_fixes():
    kept = synoptic(storm([0, 3, 6, 7, 12, 18, 21, 24]))
    np.testing.assert_array_equal(kept.latitude, [10, 11, 12, 13, 14])
    assert kept.id == "AL012015" and len(kept) == 5 and kept.radii_nmi.shape == (5, 3, 4)
    late = storm([0, 6])
    late = Storm(**{**vars(late), "times": late.times + np.timedelta64(30, "m")})
    assert len(synoptic(late)) == 0
    early = synoptic(storm([5, 11, 14, 17], start="1969-12-31T01"))  # before 1970, where numbers are negative
    np.testing.assert_array_equal(early.times, times("1969-12-31T06", "1969-12-31T12", "1969-12-31T18"))


def test_seasons_are_those_of_the_ids():
    storms = [storm([0], name=f"AL01{year}", start=f"{year}-12-31T18") for year in (2011, 2012, 2014, 2015, 2018)]
    storms[0] = Storm(**{**vars(storms[0]), "times": times("2012-01-01T00:00")})
    found = {split: [s.season for s in seasons(storms, years)] for split, years in SPLITS.items()}
    assert found == {"train": [2011], "validation": [2012, 2014], "test": [2015, 2018]}
    assert [s.season for s in seasons(storms, iter([2018, 2011]))] == [2011, 2018]
    assert seasons(storms, []) == []


def test_splits_are_apart():
    years = [set(years) for years in SPLITS.values()]
    assert len(set.union(*years)) == sum(map(len, years))
    assert (max(SPLITS["train"]), min(SPLITS["validation"]), max(SPLITS["validation"])) == (2011, 2012, 2014)
    assert (min(SPLITS["test"]), max(SPLITS["test"])) == (2015, 2018)


def test_windows_of_a_whole_track():
    found = track_windows([storm(np.arange(0, 66, 6))], past=2, leads_hours=(6, 12, 48))  # 11 fixes, pieces of 10
    assert found.past.shape == (2, 2, 2) and found.future.shape == (2, 3, 2)
    np.testing.assert_array_equal(found.past[0], [[10, -40], [11, -41]])
    np.testing.assert_array_equal(found.future[0], [[12, -42], [13, -43], [19, -49]])
    np.testing.assert_array_equal(found.past[1], found.past[0] + [1, -1])
    np.testing.assert_array_equal(found.future[1], found.future[0] + [1, -1])
    assert found.ids.tolist() == ["AL012015"] * 2 and found.years.tolist() == [2015] * 2
    assert found.past.dtype == found.future.dtype == np.float64 and found.years.dtype == np.int64


def test_windows_do_not_span_gaps():
    hours = [0, 6, 12, 24, 30, 36, 42]  # 18 is missing
    found = track_windows([storm(hours)], past=2, leads_hours=(6,))
    assert found.past[:, 0, 0].tolist() == [10, 14, 15]  # from hours 0, 24 and 30
    found = track_windows([storm(sorted([*hours, 16, 19]))], past=2, leads_hours=(6,))
    assert found.past[:, 0, 0].tolist() == [10, 14, 15]  # entries between synoptic times fill no gap
    assert len(track_windows([storm(hours)], past=2, leads_hours=(6, 24)).past) == 0


def test_windows_are_of_tropical_and_subtropical_storms():
    hours = np.arange(0, 48, 6)
    for status in module.STATUSES:
        count = len(track_windows([storm(hours, status)], past=2, leads_hours=(12,)).past)
        assert count == (5 if status in ("TD", "TS", "HU", "SD", "SS") else 0), status
    mixed = storm(hours, ["SD", "SS", "TD", "EX", "TS", "HU", "TS", "LO"])
    assert track_windows([mixed], past=1, leads_hours=(6,)).past[:, 0, 0].tolist() == [10, 11, 14, 15]
    assert track_windows([mixed], past=1, leads_hours=(12,)).past[:, 0, 0].tolist() == [10, 14]  # not through the EX


def test_windows_of_several_storms_and_of_none():
    storms = [storm(np.arange(0, 30, 6)), storm([0]), storm(np.arange(0, 24, 6), name="AL022016", start="2016-09-01")]
    found = track_windows(storms, past=1, leads_hours=(18, 6))
    assert found.ids.tolist() == ["AL012015"] * 2 + ["AL022016"] and found.years.tolist() == [2015, 2015, 2016]
    np.testing.assert_array_equal(found.future[0, :, 0], [13, 11])  # in the order that was asked for
    for none in ([], [storm([0, 6])]):
        found = track_windows(none)
        assert [part.shape for part in found] == [(0, 5, 2), (0, 4, 2), (0,), (0,)]


@pytest.mark.parametrize(
    "options, told",
    [
        ({"past": 0}, "past=0"),
        ({"leads_hours": ()}, r"Received: \(\)"),
        ({"leads_hours": (6, 9)}, r"\(6, 9\)"),
        ({"leads_hours": (0, 6)}, r"\(0, 6\)"),
        ({"leads_hours": (-6,)}, r"\(-6,\)"),
        ({"leads_hours": 12}, "Received: 12"),
    ],
)
def test_bad_windows(options, told):
    with pytest.raises(InputError, match=told):
        track_windows([storm(np.arange(0, 90, 6))], **options)


# The published file


@pytest.fixture(scope="module")
def published():
    path = DATA / "hurdat2" / "hurdat2_atlantic_1970_2018.txt"
    if not path.is_file():
        pytest.skip(f"no hurdat2 under KERAS_ST_DATA ({DATA})")
    return read_hurdat2(path)


@pytest.mark.data
def test_the_published_file(published):
    assert len(published) == 798 and sum(map(len, published)) == 21509
    assert len({s.id for s in published}) == 798 and {s.season for s in published} == set(range(1970, 2019))
    assert set().union(*(s.status.tolist() for s in published)) == set(module.STATUSES)
    assert sum(len(seasons(published, years)) for years in SPLITS.values()) == 798
    assert sum(np.isnan(s.wind_knots).sum() for s in published) == 58
    assert min(s.longitude.min() for s in published) > -110 and max(s.longitude.max() for s in published) == 13.5
    assert max(s.wind_knots[~np.isnan(s.wind_knots)].max(initial=0) for s in published) == 165  # Allen 1980
    assert min(np.nanmin(s.pressure_hpa, initial=2000) for s in published) == 882  # Wilma 2005
    assert all(len(synoptic(s)) > 0 for s in published)


@pytest.mark.data
def test_katrina(published):
    (katrina,) = (s for s in published if s.name == "KATRINA" and s.season == 2005)
    assert katrina.id == "AL122005" and len(katrina) == 34
    assert katrina.times[0] == np.datetime64("2005-08-23T18:00") and katrina.status[0] == "TD"
    assert (katrina.latitude[0], katrina.longitude[0]) == (23.1, -75.1)
    (peak,) = np.flatnonzero(katrina.times == np.datetime64("2005-08-28T18:00"))
    assert katrina.status[peak] == "HU"
    assert (katrina.latitude[peak], katrina.longitude[peak]) == (26.3, -88.6)
    assert (katrina.wind_knots[peak], katrina.pressure_hpa[peak]) == (150, 902)
    radii = [[200, 180, 125, 180], [120, 120, 75, 120], [90, 90, 50, 90]]
    np.testing.assert_array_equal(katrina.radii_nmi[peak], radii)
    (landfall,) = np.flatnonzero(katrina.times == np.datetime64("2005-08-29T11:10"))
    assert katrina.pressure_hpa[landfall] == 920 and np.isnan(katrina.radii_nmi[landfall]).all()
    assert katrina.status[-1] == "EX" and len(synoptic(katrina)) == 31  # without three landfalls
    assert len(track_windows([katrina], past=5).past) == 29 - 12  # of 29 tropical fixes, 13 in a piece


@pytest.mark.data
def test_windows_of_the_published_file(published):
    parts = {split: track_windows(seasons(published, years)) for split, years in SPLITS.items()}
    whole = track_windows(published)
    assert sum(len(part.past) for part in parts.values()) == len(whole.past)
    for split, part in parts.items():
        assert set(part.years.tolist()) <= set(SPLITS[split]) and part.future.shape[1:] == (4, 2)
    assert all(np.isfinite(part).all() for part in whole[:2])
    steps = np.diff(np.concatenate([whole.past, whole.future[:, :2]], axis=1)[:, :6], axis=1)
    assert np.abs(steps).max() < 8  # degrees in 6 hours
