"""Rollout policies (spec 5.4, V5.11)."""

import numpy as np
import pytest

from keras_st.specs import Rollout
from keras_st.training import schedules as s


def test_v5_11_scheduled_sampling():
    context, future = s.ScheduledSampling().rates(np.array([0, 1000, 49_999, 50_000, 80_000]))
    np.testing.assert_allclose(future, [1.0, 0.98, 2e-5, 0, 0], atol=1e-12)
    np.testing.assert_array_equal(context, 1)


def test_reverse_scheduled_sampling():
    context, future = s.ReverseScheduledSampling().rates(np.array([0, 24_999, 30_000, 37_500, 50_000]))
    np.testing.assert_allclose(context, [0.5, 0.5, 1 - 0.5 * np.exp(-1), 1 - 0.5 * np.exp(-2.5), 1], atol=1e-9)
    np.testing.assert_allclose(future, [0.5, 0.5, 0.4, 0.25, 0], atol=1e-9)


def test_free_and_teacher():
    np.testing.assert_array_equal(s.FreeRunning().rates(np.arange(3)), [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(s.TeacherForcing().rates(np.arange(3)), [[1, 1, 1], [1, 1, 1]])
    assert not s.FreeRunning().input_names and "future" in s.TeacherForcing().input_names


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"policy": "free"}, (1, 0)),
        ({"policy": "teacher"}, (1, 1)),
        ({"policy": "scheduled", "start_rate": 0.8, "changing_rate": 0.1, "stop_step": 9}, (1, 0.3)),
        ({"policy": "reverse", "start_step": 0, "stop_step": 10, "alpha": 5.0}, (1 - 0.5 * np.exp(-1), 0.25)),
    ],
)
def test_options_reach_the_policy(options, expected):
    rates = s.make_policy(Rollout(**options)).rates(np.array([5]))
    np.testing.assert_allclose(np.concatenate(rates), expected)


def test_v5_11_linearly_decayed_weight():
    weight = s.LinearlyDecayedWeight(1.0, 2e-5, 0.1)
    np.testing.assert_allclose(weight(np.array([0, 1000, 44_999, 45_000, 80_000])), [1, 0.98, 0.10002, 0.1, 0.1])
    assert weight(0) == 1.0


@pytest.mark.parametrize("bad", [(0.1, 1e-5, 0.2), (1.0, -1e-5, 0.0), (1.0, 1e-5, -0.1)])
def test_a_weight_only_falls(bad):
    with pytest.raises(ValueError, match=f"lambda0={bad[0]}, eps={bad[1]}, eta={bad[2]}"):
        s.LinearlyDecayedWeight(*bad)
