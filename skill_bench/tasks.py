"""Task specifications: one frozen object from one TOML file in ``tasks/``.

The file's own tables describe the official settings under our protocol, ``strict``. ``[suites.<name>.<table>]``
overrides parts of a table for a small suite, ``[protocols.<name>.<table>]`` for another protocol, which has the last
word. :meth:`TaskSpec.for_suite` merges them; what it returns goes into the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from skill_bench.base import catalog
from skill_bench.base.errors import SpecError, UnknownName
from skill_bench.base.specs import Frozen, Positive, read_toml, unknown_key, validate
from skill_bench.base.suites import SETTINGS_OF
from skill_bench.records.record import DEFAULT_PROTOCOL


class Head(Frozen):
    """The trainable part behind the weighted sum over layers.

    ``linear``: one projection, then one linear output layer, nothing in between (utterance tasks average over time
    between the two). ``blstm``, ``lstm``: the projection (none where ``projection_dim`` is false), one LSTM per entry
    of ``hidden_dims``, bidirectional or forward, the output layer. ``xvector``: the projection, one time-delay layer
    per entry of ``hidden_dims`` with the contexts of the x-vector, mean and standard deviation over time, two linear
    layers of ``embedding_dim``, AM-softmax. ``dtw``: nothing is trained; spoken terms are searched by alignment.
    """

    type: Literal["linear", "blstm", "lstm", "xvector", "dtw"] = "linear"
    projection_dim: Positive | Literal[False] = 256
    hidden_dims: tuple[Positive, ...] = ()
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    embedding_dim: Positive | Literal[False] = False
    margin: Annotated[float, Field(ge=0)] = 0.4
    scale: Annotated[float, Field(gt=0)] = 30.0

    @model_validator(mode="after")
    def _parts_belong_to_the_type(self) -> Self:
        if (self.type in ("blstm", "lstm", "xvector")) != bool(self.hidden_dims):
            raise ValueError("hidden_dims must be given for type = 'blstm', 'lstm' or 'xvector', and for them alone")
        if (self.type == "xvector") != bool(self.embedding_dim):
            raise ValueError("embedding_dim must be given for type = 'xvector', and for it alone")
        if self.type == "xvector" and len(self.hidden_dims) != N_TIME_DELAY_LAYERS:
            raise ValueError(f"an x-vector has {N_TIME_DELAY_LAYERS} hidden_dims, found {len(self.hidden_dims)}")
        return self


N_TIME_DELAY_LAYERS = 5


class SpecAugment(Frozen):
    """Masking of the features during training; the fields are s3prl's (``downstream/specaug.py``)."""

    time_warp_window: int = 5
    n_time_masks: int = 2
    time_mask_max_frames: Positive = 40
    n_feature_masks: int = 4
    feature_mask_max_dims: Positive = 50


class Protocol(Frozen):
    """How the head is trained and selected. All of it is part of the result's identity.

    ``accumulate``: batches of an update, whose losses are averaged. ``sampling``: ``shuffle``; ``class_balanced``,
    with replacement; ``length_bucketed``, a partition into batches of neighbours in length; ``sliding_buckets``, a
    window of neighbours in length of target from every utterance on, so that utterances repeat, as s3prl's PR and SF
    have it. ``dev_sampling``: all utterances once, or drawn with replacement so that classes weigh the same.
    ``half_batch_seconds``: batches whose longest utterance is longer are halved; sliding windows lose their second
    half. ``checkpoint_by``: on equal dev metrics the lower dev loss, or the earlier step.
    ``checkpoint_selected_on``: ``test`` only to repeat what s3prl's ASV does.
    ``keep_best_after_steps``: from that step on only the learning rate that is best on dev goes on (a race that saves
    time; where error rates are still 100 % or more, the dev loss decides). ``patience_evaluations``: stop when neither
    dev metric nor dev loss of any learning rate has improved for so many evaluations.
    """

    name: str = DEFAULT_PROTOCOL
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = ()
    steps: Annotated[int, Field(ge=0)] = 0
    batch_size: Positive = 32
    accumulate: Positive = 1
    sampling: Literal["shuffle", "class_balanced", "length_bucketed", "sliding_buckets"] = "shuffle"
    dev_sampling: Literal["all", "class_balanced"] = "all"
    half_batch_seconds: Annotated[float, Field(gt=0)] | Literal[False] = False
    gradient_clip_norm: Annotated[float, Field(gt=0)] = 1.0
    evaluate_every_steps: Positive = 1
    checkpoint_by: Literal["metric_then_loss", "metric_then_step"] = "metric_then_loss"
    checkpoint_selected_on: Literal["dev", "test"] = "dev"
    patience_evaluations: Positive | Literal[False] = False
    keep_best_after_steps: Positive | Literal[False] = False
    train_max_seconds: Annotated[float, Field(gt=0)] | None = None
    spec_augment: SpecAugment | Literal[False] = False

    @model_validator(mode="after")
    def _grid_is_usable(self) -> Self:
        if len(set(self.learning_rates)) != len(self.learning_rates):
            raise ValueError("learning_rates must differ from each other")
        return self


class Target(Frozen):
    """What a CTC head spells: space-separated ``phones``, ``characters``, or characters with slots.

    ``vocabulary``: the tokens, or ``corpus`` for those that occur in the task's own manifests. Slots are always those
    of the corpus. ``ending``: tokens after every target in training, taken off what is recognised: s3prl's end token,
    and for ASR the separator before it.
    """

    tokens: Literal["phones", "characters", "characters_and_slots"]
    vocabulary: Literal["corpus"] | tuple[str, ...] = "corpus"
    ending: tuple[str, ...] = ()


class Decision(Frozen):
    """How diarization turns probabilities into segments, and by what its checkpoints are chosen on dev.

    Every pair of a threshold and a median filter is tried where there are several; the best on ``selected_on`` counts
    (``test`` only to repeat what s3prl's recipe does). ``checkpoint_by``: ``der``, or ``frame_error``, the share of
    wrong frames, averaged over recordings.
    """

    thresholds: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5,)
    median_frames: tuple[Positive, ...] = (11,)
    selected_on: Literal["dev", "test"] = "dev"
    checkpoint_by: Literal["der", "frame_error"] = "der"

    @model_validator(mode="after")
    def _filters_are_odd(self) -> Self:
        if not self.thresholds or not self.median_frames:
            raise ValueError("thresholds and median_frames must not be empty")
        if any(frames % 2 == 0 for frames in self.median_frames):
            raise ValueError(f"median_frames must be odd, found {self.median_frames}")
        return self


class AudioEffects(Frozen):
    """What is done to the audio before the upstream hears it, as some of s3prl's tasks do.

    ``gain_db``: the change of level. ``trim_silence``: every stretch of at least 0.1 s below 0.1 % of full scale is
    cut out. ``n_cuts``: so many cuts of a training utterance longer than ``train_max_seconds``, drawn from anew each
    time.
    """

    gain_db: float = 0.0
    trim_silence: bool = False
    n_cuts: Positive = 1


class Search(Frozen):
    """How spoken terms are searched: subsequence alignment, asymmetric steps, distances scaled to 0 .. 1 a frame.

    ``normalise_with``: whose mean and standard deviation make features comparable over dimensions: those of ``dev``,
    or of the queries and documents that are ``searched``, as in s3prl. Queries of fewer than ``min_query_frames``
    frames match everything alike.
    """

    distance: Literal["cosine", "cosine_exp"] = "cosine_exp"
    normalise_with: Literal["dev", "searched"] = "dev"
    min_query_frames: Positive = 5


class Reference(Frozen):
    """s3prl's values, for the reader and the record; nothing here is executed."""

    downstream: str
    steps: int
    batch_size: int
    learning_rate: float
    note: str = ""


class Override(Frozen):
    """Parts of the task's tables that differ on one suite, or under one protocol."""

    head: Mapping[str, Any] = {}
    protocol: Mapping[str, Any] = {}
    target: Mapping[str, Any] = {}
    decision: Mapping[str, Any] = {}
    search: Mapping[str, Any] = {}
    audio: Mapping[str, Any] = {}


_TABLES: dict[str, type[Frozen]] = {
    "head": Head, "protocol": Protocol, "target": Target, "decision": Decision, "search": Search, "audio": AudioEffects
}  # fmt: skip


class _KindRules(Frozen):
    """What a kind of task requires of its file: metrics, head types, samplings, and the one table of its own."""

    metrics: tuple[str, ...]
    heads: tuple[str, ...]
    samplings: tuple[str, ...] = ("shuffle",)
    table: str | None = None


_KINDS = {
    "utterance": _KindRules(metrics=("accuracy",), heads=("linear",), samplings=("shuffle", "class_balanced")),
    "multilabel": _KindRules(metrics=("accuracy",), heads=("linear",)),
    "ctc": _KindRules(
        metrics=("per", "wer", "f1"),
        heads=("linear", "blstm"),
        samplings=("length_bucketed", "sliding_buckets"),
        table="target",
    ),
    "verification": _KindRules(metrics=("eer",), heads=("xvector",)),
    "diarization": _KindRules(metrics=("der",), heads=("lstm",), table="decision"),
    "retrieval": _KindRules(metrics=("mtwv",), heads=("dtw",), table="search"),
}
KINDS = tuple(_KINDS)
"""Each is a module of `skill_bench.evaluation.kinds`."""


class TaskSpec(Frozen):
    """One task, as its TOML file says.

    Attributes:
        version: Raised whenever the same model would get another score; tables never mix versions.
        predictions_since: The oldest version whose stored predictions this version would also have made, because
            only scoring changed since; records from there on can be rescored. ``version`` itself where it is absent.
        further_metrics: More metrics of the same predictions, for the record.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    version: Positive
    predictions_since: Positive | None = None
    kind: Literal["utterance", "multilabel", "ctc", "verification", "diarization", "retrieval"]
    metric: Literal["accuracy", "per", "wer", "f1", "eer", "der", "mtwv"]
    further_metrics: tuple[Literal["unweighted_accuracy"], ...] = ()
    aggregate: Literal["corpus", "mean_of_folds"] = "corpus"
    unit: Literal["percent", "x100"] = "percent"
    higher_is_better: bool
    target: Target | None = None
    decision: Decision | None = None
    search: Search | None = None
    audio: AudioEffects | None = None
    head: Head
    protocol: Protocol
    reference: Reference | None = None
    suites: Mapping[str, Override] = {}
    protocols: Mapping[str, Override] = {}

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        rules = _KINDS[self.kind]
        for table in ("target", "decision", "search"):
            if (rules.table == table) != (getattr(self, table) is not None):
                owner = next(kind for kind, other in _KINDS.items() if other.table == table)
                raise ValueError(f"[{table}] must be given for kind = {owner!r}, and for it alone")
        if self.metric not in rules.metrics:
            raise ValueError(f"kind {self.kind!r} is scored by {_either(rules.metrics)}")
        if self.higher_is_better != (self.metric in ("accuracy", "f1", "mtwv")):
            raise ValueError(f"higher_is_better = {self.higher_is_better} is wrong for metric {self.metric!r}")
        if (self.unit == "x100") != (self.metric == "mtwv"):
            raise ValueError(f"unit = {self.unit!r} is wrong for metric {self.metric!r}")
        if self.further_metrics and self.metric != "accuracy":
            raise ValueError("further_metrics belong to metric 'accuracy'")
        if self.head.type not in rules.heads:
            raise ValueError(f"kind {self.kind!r} takes a head of type {_either(rules.heads)}")
        if self.protocol.sampling not in rules.samplings:
            raise ValueError(f"kind {self.kind!r} takes sampling = {_either(rules.samplings)}")
        if self.predictions_since is not None and self.predictions_since > self.version:
            raise ValueError(f"predictions_since = {self.predictions_since} is later than version = {self.version}")
        trained = self.head.type != "dtw"
        if trained != bool(self.protocol.steps):
            raise ValueError("steps must be greater than 0, unless the head is 'dtw', which is not trained")
        if trained != bool(self.protocol.learning_rates):
            raise ValueError("learning_rates must not be empty, unless the head is 'dtw', which is not trained")
        return self

    def for_suite(self, suite: str, *, protocol: str = DEFAULT_PROTOCOL) -> TaskSpec:
        """This task with ``[suites.<suite>]``, then ``[protocols.<protocol>]`` merged in.

        The official settings when there is no such suite's table; ``mini`` shares that of ``local``, whose corpora are
        about as large.

        Raises:
            UnknownName: the task has no such protocol; suggests the nearest.
        """
        if not self.suites and not self.protocols:
            return self
        if protocol != DEFAULT_PROTOCOL and protocol not in self.protocols:
            raise UnknownName(f"protocol of task {self.name!r}", protocol, [DEFAULT_PROTOCOL, *self.protocols])
        merged = self.model_dump() | {"suites": {}, "protocols": {}}
        source = f"task {self.name!r}"
        settings = suite if suite in self.suites else SETTINGS_OF.get(suite, suite)
        for group, name in (("suites", settings), ("protocols", protocol)):
            override = getattr(self, group).get(name)
            if override is not None:
                source += f", [{group}.{name}]"
                for table in _TABLES:
                    if changes := getattr(override, table):
                        merged[table] = (merged[table] or {}) | dict(changes)
        merged["protocol"]["name"] = protocol
        return validate(TaskSpec, merged, source=source)


def _either(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def load_task(name: str) -> TaskSpec:
    """The task ``tasks/<name>.toml``.

    Raises:
        UnknownName: no such task; suggests the nearest.
        SpecError: the file is not valid; names the file, the key and the nearest valid key.
    """
    return load_task_file(catalog.entry("tasks", name))


def load_task_file(path: Path) -> TaskSpec:
    """Reads one task file and checks it, every suite override included.

    Raises:
        SpecError: names the file, the key and the nearest valid key.
    """
    spec = validate(TaskSpec, read_toml(path), source=str(path))
    if spec.name != path.stem:
        raise SpecError(f"{path}: name = {spec.name!r}, but the file says {path.stem!r}. Make them equal.")
    overrides = [("suites", name, o) for name, o in spec.suites.items()]
    overrides += [("protocols", name, o) for name, o in spec.protocols.items()]
    for group, name, override in overrides:
        for table, model in _TABLES.items():
            for key in getattr(override, table):
                if key not in model.model_fields:
                    raise SpecError(unknown_key(str(path), (group, name, table, key), model))
    for suite in ("", *spec.suites):
        for protocol in (DEFAULT_PROTOCOL, *spec.protocols):
            try:
                spec.for_suite(suite, protocol=protocol)
            except SpecError as error:
                raise SpecError(f"{path}: {error}") from error
    return spec
