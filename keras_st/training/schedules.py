"""Rollout policies as pure functions of the optimizer step: which steps read the truth.

A policy gives two probabilities at a step: that a step *inside the context* reads its true frame, and that a
forecast step reads the true frame instead of the prediction before it. Nothing counts calls, so a resumed run
continues where it stopped. `rates` takes a NumPy array of steps.
"""

import numpy as np

FUTURE = frozenset({"future", "future_flags"})


class FreeRunning:
    """The context is read, the forecast feeds on itself."""

    input_names: frozenset[str] = frozenset()  # of the model, beside `video`

    def rates(self, step):
        step = np.asarray(step, np.float64)
        return np.ones_like(step), np.zeros_like(step)


class TeacherForcing(FreeRunning):
    """Every step reads the truth."""

    input_names = FUTURE

    def rates(self, step):
        ones = np.ones_like(np.asarray(step, np.float64))
        return ones, ones


class ScheduledSampling(FreeRunning):
    """Bengio et al. 2015, as the PredRNN and E3D-LSTM code: eta(i) = start - changing_rate * i, 0 from `stop_step`.

    Args: start_rate: eta(0); changing_rate: fall per step (2e-5); stop_step: from here on eta is 0 (50,000).
    """

    input_names = FUTURE

    def __init__(self, start_rate=1.0, changing_rate=2e-5, stop_step=50_000):
        self.start_rate, self.changing_rate, self.stop_step = start_rate, changing_rate, stop_step

    def rates(self, step):
        step = np.asarray(step, np.float64)
        eta = np.clip(self.start_rate - self.changing_rate * step, 0.0, 1.0)
        return np.ones_like(step), np.where(step < self.stop_step, eta, 0.0)


class ReverseScheduledSampling(FreeRunning):
    """PredRNN-V2: the context is read ever more often, the future ever less.

    context: 0.5 before `start_step`, 1 - 0.5 exp(-(i - start_step) / alpha) up to `stop_step`, 1 after;
    future: 0.5 before `start_step`, falling linearly to 0 at `stop_step`, 0 after.
    """

    input_names = FUTURE | {"context_flags"}

    def __init__(self, start_step=25_000, stop_step=50_000, alpha=5_000.0):
        self.start_step, self.stop_step, self.alpha = start_step, stop_step, alpha

    def rates(self, step):
        step = np.asarray(step, np.float64)
        since = np.maximum(step - self.start_step, 0.0)
        context = np.where(step < self.stop_step, 1.0 - 0.5 * np.exp(-since / self.alpha), 1.0)
        fall = 0.5 * np.clip(1.0 - since / max(self.stop_step - self.start_step, 1), 0.0, 1.0)
        return context, np.where(step < self.stop_step, fall, 0.0)


class LinearlyDecayedWeight:
    """lambda(i) = max(lambda0 - eps * i, eta): weight of an auxiliary loss at optimizer step i (E3D-LSTM).

    The paper's values are not known, so there are no defaults. Args: lambda0: the largest weight, at step 0; eps: its
    fall per step; eta: the smallest.
    """

    def __init__(self, lambda0, eps, eta):
        if not (lambda0 >= eta >= 0 and eps >= 0):
            raise ValueError(
                "A weight falls from `lambda0` to `eta`, none below 0. "
                f"Received: lambda0={lambda0}, eps={eps}, eta={eta}"
            )
        self.lambda0, self.eps, self.eta = lambda0, eps, eta

    def __call__(self, step):
        return np.maximum(self.lambda0 - self.eps * np.asarray(step, np.float64), self.eta)


def make_policy(rollout):
    """The policy a `keras_st.specs.Rollout` describes."""
    if rollout.policy == "scheduled":
        return ScheduledSampling(rollout.start_rate, rollout.changing_rate, rollout.stop_step)
    if rollout.policy == "reverse":
        return ReverseScheduledSampling(rollout.start_step, rollout.stop_step, rollout.alpha)
    return {"free": FreeRunning, "teacher": TeacherForcing}[rollout.policy]()
