"""Every option of train.py changes what is trained, or is named with the test that shows its effect."""

import numpy as np
import pytest

import train
from keras_st.specs import ClassifyTask
from tests.conftest import TINY

SHARED = "--model.forecaster=shared "
SCHEDULED = SHARED + "--training.rollout.policy=scheduled "
REVERSE = SHARED + "--training.rollout.policy=reverse --training.rollout.stop_step=2 "
LEVELS = "--model.filters=[4,4]"
E3D = "e3d_lstm --model.kernel_size=[2,3,3]"
CLASSIFIER = "e3d_lstm_classifier --model.kernel_size=[2,3,3]"
ADDITIVE = "seq2seq_attention --model.score=additive"
P3D = "p3d --task.clip_frames=4"
LRCN = "lrcn --task.clip_frames=4"
GRU_RCN = "gru_rcn --task.clip_frames=4 --model.filters=[2,2,3]"
VIDEO_LSTM = "video_lstm --task.clip_frames=4 --model.filters=4"
MULTI_LSTM = "multi_lstm --task.clip_frames=6"
TIME_STRIDE = "--model.time_kernel=[3,3,3] --model.time_stride=2"
CLIPS = [
    "--data.frame_size=16",
    "--data.num_sequences=4",
    "--data.num_test_sequences=4",
    "--training.batch_size=4",
    "--training.epochs=1",
    "--model.width=4",
]
TOPICS = ["--data.num_sequences=8", "--data.num_test_sequences=4", "--training.batch_size=4", "--training.epochs=1"]
DBOF = "yt8m_dbof --model.clusters=6 --model.units=4"
NETVLAD = "yt8m_netvlad --model.clusters=4 --model.units=4"
TWO_STREAM = "yt8m_two_stream_lstm --model.units=3 --model.hidden=[5,4]"
FAST = "yt8m_fast_forward_lstm --model.units=3 --model.hidden=[5,4]"
TEMPORAL = "yt8m_temporal_resnet --model.width=4 --model.units=4"
TRACKING = "hurricane_tracking --data.grid=[16,24] --task.context_frames=2 --data.num_sequences=4"
FORECASTING = "hurricane_forecasting --data.grid=[16,24] --task.horizon_frames=2 --data.num_sequences=8"
EFFECTS = [  # (options of both runs, what is compared with them, options changed, what must differ)
    ("", "", "--data.frame_size=24", "data"),
    ("", "", "--data.num_digits=1", "data"),
    ("", "", "--data.root=$KERAS_ST_DATA/mnist", "data"),
    ("", "", "--data.num_sequences=4", "weights"),
    ("", "", "--data.num_test_sequences=6", "scores"),
    ("", "", "--task.context_frames=5", "data"),
    ("", "", "--task.horizon_frames=2", "scores"),
    ("", "", "--model.filters=[3,2]", "weights"),
    ("", "", "--model.kernel_size=5", "weights"),
    ("", "", "--model.recurrent_kernel_size=5", "weights"),
    ("", "", "--model.peephole=channel", "weights"),
    ("", "", "--model.dilation_rate=[2]", "weights"),
    ("", "", "--model.recurrent_dilation_rate=[2]", "weights"),
    ("", "", "--model.patch=4", "weights"),
    ("", "", "--model.forecaster=conditioned", "weights"),
    ("--model.filters=[4,4]", "", "--model.readout=last", "weights"),
    ("", "", "--model.activation=sigmoid", "scores"),
    ("", "", "--training.epochs=2", "weights"),
    ("", "", "--training.batch_size=3", "weights"),
    ("", "", "--training.learning_rate=0.1", "weights"),
    ("", "", "--training.warmup_fraction=0.9", "weights"),
    ("", "", "--training.clip_norm=0.00001", "weights"),
    ("", "", "--training.loss=l1_l2", "weights"),
    ("", "", "--training.seed=1", "weights"),
    (SHARED + "--model.predict_context=true", "", "--training.context_loss_weight=0.5", "weights"),
    (SHARED, "", "--training.rollout.policy=teacher", "weights"),
    (SCHEDULED, "", "--training.rollout.start_rate=0.1", "weights"),
    (SCHEDULED, "", "--training.rollout.changing_rate=0.9", "weights"),
    (SCHEDULED, "", "--training.rollout.stop_step=0", "weights"),
    (REVERSE, "--training.rollout.start_step=1", "--training.rollout.start_step=0", "weights"),
    (REVERSE + "--training.rollout.start_step=0", "", "--training.rollout.alpha=0.1", "weights"),
    ("", "", "--training.reverse_input=true", "weights"),
    ("conv_gru", "", "--model.update_gate=old", "weights"),
    ("conv_gru", "", "--model.reset_after=true", "weights"),
    ("pred_rnn", "", "--model.norm=true", "weights"),
    ("pred_rnn", "", "--model.decoupling=true", "weights"),
    ("pred_rnn --model.decoupling=true", "", "--training.decoupling_weight=0.5", "weights"),
    ("deformable_conv_lstm", "", "--model.deform=aligned --model.forecaster=conditioned", "weights"),
    ("deformable_conv_lstm", "", "--model.deform_groups=2", "weights"),
    ("deformable_conv_lstm", "", "--model.deform_modulation=sigmoid", "weights"),
    ("self_attention_conv_lstm", "", "--model.attention_units=3", "weights"),
    ("self_attention_conv_lstm", "", "--model.scale=true", "weights"),
    ("self_attention_conv_lstm", "", "--model.separable=true", "weights"),
    ("hierarchical_conv_lstm " + LEVELS, "--model.periods=[1,2]", "--model.periods=[1,3]", "weights"),
    ("hierarchical_conv_lstm " + LEVELS, "--model.periods=[1,2]", "--model.pool=4 --model.periods=[1,2]", "weights"),
    ("seq2seq_attention", "", "--model.attention_position=input", "weights"),
    ("seq2seq_attention", "", "--model.score=bilinear", "weights"),
    ("seq2seq_attention", "", "--model.attention_scale=true", "weights"),
    (ADDITIVE + " --model.attention_units=3", "", "--model.attention_units=5", "weights"),
    ("fc_lstm --model.frame_size=16", "", "--model.filters=[6]", "weights"),
    (E3D, "", "--model.kernel_size=[1,3,3]", "weights"),
    (E3D, "", "--model.window=3", "weights"),
    (E3D, "", "--model.window_stride=2", "weights"),
    (E3D, "", "--model.recall_steps=1", "weights"),
    (E3D, "", "--model.recall_steps=null", "weights"),
    (E3D, "", "--model.variant=released", "weights"),
    (E3D, "", "--model.update_memory=false", "weights"),
    (E3D, "", "--model.eidetic_memory=true", "weights"),
    (E3D, "", "--model.empty_slots=zeros", "weights"),
    (E3D, "", "--model.norm=false", "weights"),
    (E3D, "", "--model.gate_norm=true", "weights"),
    (E3D, "", "--model.norm_epsilon=0.1", "weights"),
    (E3D, "", "--training.loss=l1_l2_sum", "weights"),
    ("e3d_bottom", "", "--model.conv3d=top", "weights"),
    ("e3d_top", "", "--model.window=3", "weights"),
    (CLASSIFIER, "", "--model.classes=7", "weights"),
    (CLASSIFIER, "", "--model.pool=concat", "weights"),
    (CLASSIFIER, "", "--model.head_dropout=0.5", "weights"),
    (CLASSIFIER, "", "--training.forecast_weight=2", "weights"),
    (CLASSIFIER + " --training.forecast_weight_floor=0", "", "--training.forecast_weight_decay=9", "weights"),
    (CLASSIFIER + " --training.forecast_weight_decay=99", "", "--training.forecast_weight_floor=0.5", "weights"),
    (CLASSIFIER, "", "--data.noise=0.1", "data"),
    ("conv_lstm --data.name=copy_task --task.context_frames=6", "", "--data.num_digits=2", "data"),
    ("", "", "--training.optimizer=sgd", "weights"),
    ("", "", "--training.weight_decay=0.5", "weights"),
    (P3D, "", "--task.clip_frames=5", "data"),
    (P3D, "", "--task.frame_stride=2", "data"),
    (P3D, "", "--task.resize=[20,18]", "data"),
    (P3D, "", "--task.crop=[12,14]", "data"),
    (P3D, "", "--task.flip=true", "data"),
    (P3D, "", "--model.depth=34", "weights"),
    (P3D, "", "--model.cycle=B", "weights"),
    (P3D, "", "--model.merge=paper", "weights"),
    (P3D, "", "--model.temporal_pool=false", "weights"),
    (P3D, "", "--model.stem_pool=keras", "weights"),
    (P3D, "", "--model.bn_epsilon=0.1", "weights"),
    (P3D, "", "--model.freeze_bn=all_but_first", "weights"),
    (P3D + " --data.frame_size=40", "", "--model.pooling=max", "weights"),
    (P3D, "", "--model.dropout=0.5", "weights"),
    (P3D, "", "--model.width=5", "weights"),
    ("c3d --data.frame_size=32", "", "--model.pool5_pad=torch", "weights"),
    (LRCN, "", "--model.units=5", "weights"),
    (LRCN, "", "--model.feature_dropout=0.5", "weights"),
    ("conv_pooling --task.clip_frames=4", "", "--model.taps=[block2_pool]", "weights"),
    (LRCN, "", "--data.speed=[1,2]", "data"),
    ("snippet_lstm --task.clip_frames=4", "", "--model.num_layers=1", "weights"),
    ("snippet_lstm --task.clip_frames=4", "", "--model.gain=mean", "weights"),
    ("snippet_lstm --task.clip_frames=4", "", "--model.aggregation=last", "scores"),
    ("time_domain_conv --task.clip_frames=8", "--model.time_kernel=[5,3,3]", "--model.time_kernel=[4,3,3]", "weights"),
    ("time_domain_conv --task.clip_frames=8", "--model.time_kernel=[3,3,3]", TIME_STRIDE, "scores"),
    (GRU_RCN, "", "--model.stacked=true", "weights"),
    (GRU_RCN, "", "--model.bidirectional=true", "weights"),
    (GRU_RCN, "", "--model.use_bias=true", "weights"),
    (VIDEO_LSTM, "", "--model.hidden=7", "weights"),
    (VIDEO_LSTM, "", "--model.init_state=zeros", "weights"),
    (VIDEO_LSTM, "", "--model.bottom_kernel_size=1", "weights"),
    (VIDEO_LSTM, "", "--model.feed_top=attention", "weights"),
    (VIDEO_LSTM, "", "--model.feed_top=null", "weights"),
    (VIDEO_LSTM, "", "--model.flow_stack=2", "weights"),
    ("alstm --task.clip_frames=4", "", "--model.attention_penalty=9", "weights"),
    (MULTI_LSTM, "--model.window=3", "--model.window=2", "weights"),
    (MULTI_LSTM, "", "--model.attention=false", "weights"),
    (MULTI_LSTM, "", "--model.outputs=false", "weights"),
    (MULTI_LSTM, "", "--model.average=probabilities", "weights"),
    (MULTI_LSTM, "", "--model.online=true", "scores"),
    ("yt8m_moe", "", "--data.carrier=audio", "data"),
    ("yt8m_moe", "", "--model.experts=3", "weights"),
    ("yt8m_moe", "", "--model.l2=1", "weights"),
    (DBOF, "", "--model.clusters=7", "weights"),
    (DBOF, "", "--model.sample_frames=7", "scores"),
    (DBOF, "", "--model.sample_method=run", "weights"),
    (DBOF, "", "--model.pooling=mean", "weights"),
    (DBOF, "", "--model.activation=relu6", "weights"),
    (DBOF, "", "--model.momentum=0.5", "weights"),
    ("yt8m_lstm --model.units=4", "", "--model.states=every", "weights"),
    ("yt8m_lstm --model.units=4", "", "--model.cell=gru", "weights"),
    (NETVLAD, "", "--model.pooling=net_fv", "weights"),
    (NETVLAD, "", "--model.relu=true", "weights"),
    (NETVLAD, "", "--model.gating=false", "weights"),
    (NETVLAD, "", "--model.probability_gating=false", "weights"),
    (TWO_STREAM, "", "--model.embedding=null", "weights"),
    (TWO_STREAM, "", "--model.peephole=false", "weights"),
    (FAST, "", "--model.preset=offline_depth7_release --model.hidden=[4]", "weights"),
    (FAST, "", "--model.chains=1", "weights"),
    (FAST, "", "--model.path_rate=0.5", "weights"),
    (FAST, "", "--model.pool=max --model.hidden=[4]", "weights"),
    (TEMPORAL, "", "--model.frames=64", "scores"),
    (TEMPORAL, "", "--model.blocks=2", "weights"),
    (TRACKING, "", "--data.grid=[16,16]", "data"),
    (TRACKING, "", "--data.region=[10,40,270,300]", "data"),
    (TRACKING, "", "--data.step_hours=6", "data"),
    (TRACKING, "", "--data.max_storms=0", "data"),
    (TRACKING, "", "--data.distractors=false", "data"),
    (TRACKING, "", "--model.conv_filters=[]", "weights"),
    (TRACKING, "", "--training.loss=mse", "weights"),
    (FORECASTING, "", "--data.step_degrees=3", "data"),
    (FORECASTING, "", "--data.sigma_km=500", "data"),
]
NO_EFFECT_ON_FIT = {
    "--describe",
    "--extract",
    "--data.name",
    "--system",
    "--config",
    "--print_config",
    "--resume",
    "--runs",
    "--saved_models",
}


def trace(words):
    """What a command line leads to: first batch, weights after two steps, test forecasts."""
    recipe, _ = train.parse(words)
    feature, steps = train.examine(recipe)
    model = train.build_model(recipe, feature)
    train.compile_model(model, recipe.training, steps)
    model.run_eagerly = True  # two steps are taken: tracing them takes longer
    batches = list(train.with_all_targets(train.training_batches(recipe, feature, 0, steps), model))
    for batch in batches:
        model.train_on_batch(*batch)
    test = list(train.batches_of(recipe, feature, "test"))
    outputs = [model(inputs) for inputs, _ in test]
    scores = np.concatenate([np.reshape(output.get("frames", output.get("logits")), -1) for output in outputs])
    seen = batches[0][0][feature[0].name].numpy()
    return {"data": [seen], "weights": model.get_weights(), "scores": [scores]}


def differs(a, b):
    return [x.shape for x in a] != [y.shape for y in b] or any(np.abs(x - y).max() > 1e-9 for x, y in zip(a, b))


@pytest.fixture(scope="module")
def traces():
    """Traces of base command lines, each made once."""
    made = {}

    def of(words):
        if tuple(words) not in made:
            made[tuple(words)] = trace(words)
        return made[tuple(words)]

    return of


@pytest.mark.parametrize("common, base, changed, what", EFFECTS, ids=lambda p: p.split("=")[0])
def test_every_option_has_an_effect(common, base, changed, what, traces, request):
    if "KERAS_ST_DATA" in changed:
        request.getfixturevalue("mnist_folder")
    system = [word for word in common.split()[:1] if not word.startswith("--")]  # none: the default one
    shapes = "classifier" in system[0] if system else False  # moving_shapes has no digits to set
    tiny = [word for word in TINY if not (shapes and "num_digits" in word)]
    if system and isinstance(train.recipe_of(system[0]).task, ClassifyTask):
        tiny = TOPICS if system[0].startswith("yt8m") else CLIPS
    if system and system[0].startswith("hurricane"):
        tiny = [*TOPICS, "--model.filters=[4]"]
    words = [*system, *tiny, *common.split()[len(system) :]]
    before = traces([*words, *base.split()])
    after = trace([*words, *changed.split()])
    assert differs(after[what], before[what])


ELSEWHERE = {  # options that need data of their own: the test that shows their effect
    "--data.audio_size": "test_youtube8m.py",
    "--data.builder": "test_tfds.py",
    "--data.classes": "test_youtube8m.py",
    "--data.fractions": "test_array.py",
    "--data.frame_step": "test_ut_interaction.py",
    "--data.crop": "test_radar.py",
    "--data.label": "test_tfds.py",
    "--data.labels": "test_array.py",
    "--data.level": "test_youtube8m.py",
    "--data.max_frames": "test_youtube8m.py",
    "--data.rgb_size": "test_youtube8m.py",
    "--data.step_minutes": "test_radar.py",
    "--data.step_tolerance": "test_radar.py",
    "--data.test": "test_tfds.py",
    "--data.time_first": "test_array.py",
    "--data.train": "test_tfds.py",
    "--data.turn": "test_radar.py",
    "--data.validation": "test_tfds.py",
    "--data.value_range": "test_array.py",
    "--data.video": "test_tfds.py",
    "--data.videos": "test_array.py",
    "--data.flow": "test_moving_shapes.py",
    "--data.window_frames": "test_thermal.py",
    "--data.window_stride": "test_radar.py",
    "--data.file": "test_a_field_is_trained_scored_and_served_in_its_own_unit",
    "--data.shuffle": "test_crowd_flow.py, test_records.py",
    "--data.verify": "test_kth.py, test_records.py",
    "--model.preprocessing": "test_classes.py",
    "--model.weights": "test_classes.py",
    "--model.backbone": "test_backbones.py",
    "--model.floor": "test_lagrangian_forecaster.py",
    "--model.match": "test_lagrangian_forecaster.py",
    "--model.pairs": "test_lagrangian_forecaster.py",
    "--model.smoothing": "test_lagrangian_forecaster.py",
    "--model.spread": "test_lagrangian_forecaster.py",
    "--model.fine_tune": "test_features.py",
    "--model.flow_weights": "test_features.py",
    "--task.average": "test_classes.py",
    "--task.channels": "test_classify_batches.py",
    "--task.labels": "test_classify_batches.py",
    "--task.placement": "test_classes.py",
    "--task.short": "test_classify_batches.py",
    "--task.streams": "test_prepared.py",
    "--task.test_clips": "test_classes.py",
    "--task.test_crops": "test_classes.py",
}


PAIRS = [(system, None) for system in train.list_systems()] + [("p3d", name) for name in sorted(train.DATASETS)]


@pytest.mark.parametrize("system, dataset", PAIRS)
def test_no_option_is_forgotten(system, dataset):
    _, parser = train.make_parser(system, dataset, {})
    known = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    known -= set(ELSEWHERE)
    words = " ".join(" ".join(row[:3]) for row in EFFECTS).split()
    tested = {word.split("=")[0] for word in words}
    groups = {"--training.rollout", "--task", "--training", "--model", "--data", "--help"}
    assert {o for o in known if not o.endswith("+")} - tested - NO_EFFECT_ON_FIT - groups == set()
