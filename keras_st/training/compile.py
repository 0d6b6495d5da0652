"""Optimizer, losses and metrics of a model, as a recipe says."""

import keras

from keras_st.metrics.youtube8m import BINS, GAP, Hit1
from keras_st.specs import ForecastTraining, Training
from keras_st.training.losses import LOSSES, FrameLabelLoss, SeveralLabelLoss, StepLoss


def compile_forecaster(model, training: ForecastTraining, steps):
    """Losses by output name: frames, and what else the model returns and the recipe weighs."""
    losses, weights = {"frames": LOSSES[training.loss]}, {"frames": 1.0}
    if training.context_loss_weight:
        losses["context_frames"] = LOSSES[training.loss]
        weights["context_frames"] = training.context_loss_weight
    if training.decoupling_weight:
        losses["decoupling"] = "mae"  # of a term that is never negative, against 0
        weights["decoupling"] = training.decoupling_weight
    metrics = {}
    if hasattr(model, "classes"):
        losses["logits"] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        weights["logits"], metrics["logits"] = 1.0, "accuracy"
    returned = {"context_frames"} if model.predict_context else set()
    if (returned | ({"decoupling"} if model.decoupling else set())) <= set(losses) and not model.reads_missing:
        metrics["frames"] = keras.metrics.MeanSquaredError("mse")  # whatever the loss; Keras wants a target for all
    model.compile(make_optimizer(training, steps), loss=losses, loss_weights=weights, metrics=metrics or None)


def compile_classifier(model, training: Training, steps):
    """Cross-entropy of the logits, of every step's where the model has a `step_loss`; of several labels one a class.

    Of several labels hit@1 and GAP@20 are told, in which a label of -1 counts as 0.
    """
    if model.multi_label:
        losses: dict = {"logits": FrameLabelLoss()}
        metrics: dict | None = None
        if model.average is not None:
            losses = {"logits": SeveralLabelLoss()}
            metrics = {"logits": [Hit1(from_logits=True, name="hit1"), GAP(bins=BINS, from_logits=True, name="gap")]}
    else:
        losses, metrics = (
            {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
            {"logits": "accuracy"},
        )
        if model.step_loss is not None:
            losses = {"step_logits": StepLoss(model.step_loss)}
    model.compile(make_optimizer(training, steps), loss=losses, metrics=metrics)


def make_optimizer(training: Training, steps):
    """Adam or SGD, linear warm-up and half-cosine decay over all epochs of `steps` steps."""
    total = training.epochs * steps
    warmup = int(training.warmup_fraction * total)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else training.learning_rate,
        decay_steps=max(total - warmup, 1),
        warmup_target=training.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    options = {"global_clipnorm": training.clip_norm or None, "weight_decay": training.weight_decay or None}
    if training.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9, **options)
    return keras.optimizers.Adam(rate, **options)
