"""What task files are made of: the keys that all have, and the tables that heads, training and search read.

Each kind of task has a specification of its own, which says what its file must hold: `skill_bench.evaluation.kinds`.
`skill_bench.evaluation.task_files` reads the files.

A file's own tables describe the official settings under our protocol, ``strict``. ``[suites.<name>.<table>]``
overrides parts of a table for a small suite, ``[protocols.<name>.<table>]`` for another protocol, which has the last
word. :meth:`TaskSpec.for_suite` merges them; what it returns goes into the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import Field, model_validator

from skill_bench.base.catalog import settings_of
from skill_bench.base.errors import UnknownName
from skill_bench.base.specs import Count, Frozen, Off, Positive, PositiveNumber, Weight, validate
from skill_bench.records.record import DEFAULT_PROTOCOL


class Table(Frozen):
    """A table of a task's file, of which suites and protocols may override parts."""


class Head(Table):
    """The trainable part behind the weighted sum over layers.

    ``linear``: one projection, then one linear output layer, nothing in between (utterance tasks average over time
    between the two). ``blstm``, ``lstm``: the projection (none where ``projection_dim`` is false), one LSTM per entry
    of ``hidden_dims``, bidirectional or forward, the output layer. ``xvector``: the projection, one time-delay layer
    per entry of ``hidden_dims`` with the contexts of the x-vector, mean and standard deviation over time, two linear
    layers of ``embedding_dim``, AM-softmax.
    """

    type: Literal["linear", "blstm", "lstm", "xvector"] = "linear"
    projection_dim: Positive | Off = 256
    hidden_dims: tuple[Positive, ...] = ()
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    embedding_dim: Positive | Off = False
    margin: Weight = 0.4
    scale: PositiveNumber = 30.0

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

    time_warp_window: Count = 5
    n_time_masks: Count = 2
    time_mask_max_frames: Positive = 40
    n_feature_masks: Count = 4
    feature_mask_max_dims: Positive = 50


class Protocol(Table):
    """How the head is trained and selected. All of it is part of the result's identity.

    ``accumulate``: batches of an update, whose losses are averaged. ``sampling``: ``shuffle``; ``class_balanced``,
    with replacement; ``length_bucketed``, a partition into batches of neighbours in length; ``sliding_buckets``, a
    window of neighbours in length of target from every utterance on, so that utterances repeat, as s3prl's PR and SF
    have it. ``dev_sampling``: all utterances once, or drawn with replacement so that classes weigh the same.
    ``half_batch_seconds``: batches whose longest utterance is longer are halved; sliding windows lose their second
    half. ``checkpoint_by``: on equal dev metrics the lower dev loss, or the earlier step.
    ``checkpoint_selected_on``: ``test`` only to repeat what s3prl's ASV does.
    ``keep_best_after_steps``: from that step on only learning rates go on that dev cannot tell from the best, two
    standard errors over its items apart (a race that saves time; error rates of 100 % and more are alike).
    ``patience_evaluations``: a learning rate stops when neither its dev metric nor its dev loss has improved for so
    many evaluations. ``extend_grid``: while the chosen learning rate is at the edge of the grid, the grid gets one
    more, in its own spacing, so many times at most. ``average_last``: the parameters of so many dev points are
    averaged before dev and test are read. ``train_min_seconds``: training utterances that are not longer, silence cut
    out, are left out.
    """

    name: str = DEFAULT_PROTOCOL
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rates: tuple[PositiveNumber, ...] = ()
    steps: Count = 0
    batch_size: Positive = 32
    accumulate: Positive = 1
    sampling: Literal["shuffle", "class_balanced", "length_bucketed", "sliding_buckets"] = "shuffle"
    dev_sampling: Literal["all", "class_balanced"] = "all"
    half_batch_seconds: PositiveNumber | Off = False
    gradient_clip_norm: PositiveNumber = 1.0
    evaluate_every_steps: Positive = 1
    checkpoint_by: Literal["metric_then_loss", "metric_then_step"] = "metric_then_loss"
    checkpoint_selected_on: Literal["dev", "test"] = "dev"
    patience_evaluations: Positive | Off = False
    keep_best_after_steps: Positive | Off = False
    extend_grid: Count = 0
    average_last: Positive = 1
    train_min_seconds: PositiveNumber | None = None
    train_max_seconds: PositiveNumber | None = None
    spec_augment: SpecAugment | Off = False

    @model_validator(mode="after")
    def _grid_is_usable(self) -> Self:
        if len(set(self.learning_rates)) != len(self.learning_rates):
            raise ValueError("learning_rates must differ from each other")
        return self


_LATER_KEYS = ("extend_grid", "average_last", "train_min_seconds")


class Target(Table):
    """What a CTC head spells: space-separated ``phones``, ``characters``, or characters with slots.

    ``vocabulary``: the tokens, or ``corpus`` for those that occur in the task's own manifests. Slots are always those
    of the corpus. ``ending``: tokens after every target in training, taken off what is recognised: s3prl's end token,
    and for ASR the separator before it.
    """

    tokens: Literal["phones", "characters", "characters_and_slots"]
    vocabulary: Literal["corpus"] | tuple[str, ...] = "corpus"
    ending: tuple[str, ...] = ()


class Decision(Table):
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


class AudioEffects(Table):
    """What is done to the audio before the upstream hears it, as some of s3prl's tasks do.

    ``gain_db``: the change of level. ``trim_silence``: every stretch of at least 0.1 s below 0.1 % of full scale is
    cut out. ``n_cuts``: so many cuts of a training utterance longer than ``train_max_seconds``, drawn from anew each
    time.
    """

    gain_db: float = 0.0
    trim_silence: bool = False
    n_cuts: Positive = 1


class Search(Table):
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


Overrides = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Parts of the task's tables that differ, by suite or protocol, and by table."""


class TaskSpec(Frozen):
    """One task, as its TOML file says: what all kinds have in common. A kind derives its ``Spec`` from this class.

    Attributes:
        metrics: What the kind may be scored by.
        version: Raised whenever the same model would get another score, but for roundings, which machines and libraries
            change too; tables never mix versions.
        predictions_since: The oldest version whose stored predictions this version would also have made, because
            only scoring changed since; records from there on can be rescored. ``version`` itself where it is absent.
        further_metrics: More metrics of the same predictions, for the record.
        protocol: Its name alone, unless the kind is trained.
    """

    metrics: ClassVar[tuple[str, ...]]

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    version: Positive
    predictions_since: Positive | None = None
    kind: str
    metric: str
    further_metrics: tuple[Literal["unweighted_accuracy"], ...] = ()
    aggregate: Literal["corpus", "mean_of_folds"] = "corpus"
    audio: AudioEffects | None = None
    protocol: Protocol = Protocol()
    reference: Reference | None = None
    suites: Overrides = Field(default={})
    protocols: Overrides = Field(default={})

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.metric not in self.metrics:
            raise ValueError(f"kind {self.kind!r} is scored by {_either(self.metrics)}, not by {self.metric!r}")
        if self.further_metrics and self.metric != "accuracy":
            raise ValueError("further_metrics belong to metric 'accuracy'")
        if self.predictions_since is not None and self.predictions_since > self.version:
            raise ValueError(f"predictions_since = {self.predictions_since} is later than version = {self.version}")
        return self

    @model_validator(mode="after")
    def _protocol_fits(self) -> Self:
        if self.protocol != Protocol(name=self.protocol.name):
            raise ValueError(f"[protocol] must be left out: kind {self.kind!r} trains nothing")
        return self

    @classmethod
    def tables(cls) -> dict[str, type[Table]]:
        """The tables that suites and protocols may override, by name."""
        found = {}
        for name, field in cls.model_fields.items():
            for model in (field.annotation, *get_args(field.annotation)):
                if isinstance(model, type) and issubclass(model, Table):
                    found[name] = model
        return found

    def recorded(self) -> dict[str, Any]:
        """What a record keeps of the task, as JSON.

        Keys of the protocol that came later are left out where they say nothing: older records mean the same.
        """
        found = self.model_dump(mode="json")
        for key in _LATER_KEYS:
            if found["protocol"][key] == Protocol.model_fields[key].default:
                del found["protocol"][key]
        return found

    def for_suite(self, suite: str, *, protocol: str = DEFAULT_PROTOCOL) -> Self:
        """This task with ``[suites.<suite>]``, then ``[protocols.<protocol>]`` merged in.

        The official settings when there is no such suite's table; ``mini`` and packaged layouts share that of
        ``local``, whose corpora are about as large.

        Raises:
            UnknownName: the task has no such protocol; suggests the nearest.
        """
        if protocol not in (known := [self.protocol.name, *self.protocols]):
            raise UnknownName(f"protocol of task {self.name!r}", protocol, known)
        if not self.suites and not self.protocols:
            return self
        merged = self.model_dump() | {"suites": {}, "protocols": {}}
        source = f"task {self.name!r}"
        settings = suite if suite in self.suites else settings_of(suite)
        for group, name in (("suites", settings), ("protocols", protocol)):
            override = getattr(self, group).get(name)
            if override is not None:
                source += f", [{group}.{name}]"
                for table, changes in override.items():
                    merged[table] = (merged[table] or {}) | dict(changes)
        merged["protocol"]["name"] = protocol
        return validate(type(self), merged, source=source)


class TrainedSpec(TaskSpec):
    """A task with a head that is trained.

    Attributes:
        heads: Types of head that the kind can train.
        samplings: How its training batches may be drawn.
    """

    heads: ClassVar[tuple[str, ...]]
    samplings: ClassVar[tuple[str, ...]] = ("shuffle",)

    head: Head
    protocol: Protocol

    @model_validator(mode="after")
    def _protocol_fits(self) -> Self:
        if self.head.type not in self.heads:
            raise ValueError(f"kind {self.kind!r} takes a head of type {_either(self.heads)}, not {self.head.type!r}")
        if self.protocol.sampling not in self.samplings:
            found = self.protocol.sampling
            raise ValueError(f"kind {self.kind!r} takes sampling = {_either(self.samplings)}, not {found!r}")
        if not self.protocol.steps:
            raise ValueError(f"steps must be greater than 0: kind {self.kind!r} is trained")
        if not self.protocol.learning_rates:
            raise ValueError(f"learning_rates must not be empty: kind {self.kind!r} is trained")
        return self


AnyTrained = TypeVar("AnyTrained", bound=TrainedSpec)


def with_protocol(task: AnyTrained, **changes: object) -> AnyTrained:
    """The task with some keys of its protocol changed."""
    return task.model_copy(update={"protocol": task.protocol.model_copy(update=changes)})


def _either(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
