"""What `train.py` does around every epoch: checkpoints, CSV, TensorBoard."""

import csv
import importlib.util
import os
import pathlib

import keras


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, optimizer and random states after every epoch, so that a killed run goes on as if it had not been.

    One file, `epoch-<number of epochs done>.weights.h5`, written aside and renamed; the one before is then removed.
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
        return int(last.name.split(".")[0].removeprefix("epoch-"))

    def on_epoch_end(self, epoch, logs=None):
        self.folder.mkdir(exist_ok=True)
        older = self._saved()
        partial = self.folder / "partial.weights.h5"
        self.model.save_weights(partial, overwrite=True)
        os.replace(partial, self.folder / f"epoch-{epoch + 1:06d}.weights.h5")
        for path in older:
            path.unlink()


def progress_callbacks(run, first_epoch):
    """`history.csv`, cut back to the epochs a checkpoint holds, and TensorBoard events where it is installed."""
    history = pathlib.Path(run, "history.csv")
    if history.exists():
        rows = list(csv.DictReader(history.open()))
        with history.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0] if rows else ["epoch"])
            writer.writeheader()
            writer.writerows(row for row in rows if int(row["epoch"]) < first_epoch)
    callbacks = [keras.callbacks.CSVLogger(history, append=True)]
    if importlib.util.find_spec("tensorboard"):
        callbacks.append(keras.callbacks.TensorBoard(str(pathlib.Path(run, "tensorboard"))))
    else:
        print("TensorBoard is not installed (extra [board]); the losses are in history.csv.")
    return callbacks
