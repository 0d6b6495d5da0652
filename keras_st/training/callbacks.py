"""What `train.py` does around every epoch: checkpoints, CSV, TensorBoard."""

import csv
import importlib.util
import os
import pathlib

import keras
import numpy as np


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, optimizer and random states after every epoch, so that a killed run goes on as if it had not been.

    `epoch-<number of epochs done>.weights.h5`, written aside and renamed, beside `.random.npz`; older ones are removed.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = pathlib.Path(folder)

    def _saved(self):
        return sorted(self.folder.glob("epoch-*.weights.h5"))

    def restore(self, model):
        """Loads the last checkpoint into a built, compiled model; returns the number of epochs it had done."""
        if not self._saved():
            return 0
        model.optimizer.build(model.trainable_variables)
        last = self._saved()[-1]
        model.load_weights(last)
        with np.load(_random_file(last)) as stored:
            for n, variable in enumerate(_random_states(model)):
                variable.assign(stored[str(n)])
        return int(last.name.split(".")[0].removeprefix("epoch-"))

    def on_epoch_end(self, epoch, logs=None):
        self.folder.mkdir(exist_ok=True)
        older = self._saved()
        new = self.folder / f"epoch-{epoch + 1:06d}.weights.h5"
        states = {str(n): keras.ops.convert_to_numpy(v) for n, v in enumerate(_random_states(self.model))}
        np.savez(_random_file(new), **states)
        partial = self.folder / "partial.weights.h5"
        self.model.save_weights(partial, overwrite=True)
        os.replace(partial, new)  # from here on the checkpoint counts
        for path in older:
            path.unlink()
            _random_file(path).unlink()


class LogWeight(keras.callbacks.Callback):
    """Adds the weight of the losses on frames, a function of the step alone, to the logs: `forecast_weight`."""

    def __init__(self, weight, steps_per_epoch):
        super().__init__()
        self.weight, self.steps_per_epoch, self.epoch = weight, steps_per_epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        logs["forecast_weight"] = float(self.weight(self.epoch * self.steps_per_epoch + batch))

    def on_epoch_end(self, epoch, logs=None):
        logs["forecast_weight"] = float(self.weight((epoch + 1) * self.steps_per_epoch - 1))


def _random_file(weights):
    return weights.with_name(weights.name.replace(".weights.h5", ".random.npz"))


def _random_states(model):
    """States of every dropout's seed generator, which `save_weights` leaves out."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def progress_callbacks(run, first_epoch):
    """`history.csv`, cut back to the epochs a checkpoint holds, and TensorBoard events where it is installed."""
    history = pathlib.Path(run, "history.csv")
    if history.exists():
        rows = [row for row in csv.DictReader(history.open()) if int(row["epoch"]) < first_epoch]
        history.unlink()
        if rows:
            with history.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
    callbacks = [keras.callbacks.CSVLogger(history, append=True)]
    if importlib.util.find_spec("tensorboard"):
        callbacks.append(keras.callbacks.TensorBoard(str(pathlib.Path(run, "tensorboard"))))
    else:
        print("TensorBoard is not installed (extra [board]); the losses are in history.csv.")
    return callbacks
