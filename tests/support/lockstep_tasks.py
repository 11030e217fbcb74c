"""The nine trained tasks on both sides: s3prl's experts as their constructors make them, without the corpora."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from kind_data import load_trained
from lockstep import Pair, answers, features, settings
from lockstep_material import DIM, FRAME_SECONDS, Material, conversations, labelled, spelt
from torch import nn

import skill_bench.s3prl  # noqa: F401  s3prl's modules import only after this
from skill_bench.corpora.data import Utterance
from skill_bench.evaluation.kinds.ctc.problem import SequenceProblem
from skill_bench.evaluation.kinds.diarization.problem import DiarizationProblem
from skill_bench.evaluation.kinds.utterance.problem import LabelProblem
from skill_bench.evaluation.kinds.verification.problem import VerificationProblem
from skill_bench.evaluation.solving.checks import one_slot
from skill_bench.probes.tokens import Tokens
from skill_bench.tasks import TrainedSpec

CPU = torch.device("cpu")
PROJECTION = {"projector": "projection"}
COSINE_TOLERANCE = 1e-4


def ks() -> Pair:
    from s3prl.downstream.speech_commands.dataset import CLASSES

    return _one_label("ks", "speech_commands", list(CLASSES), "predict")


def sid() -> Pair:
    return _one_label("sid", "voxceleb1", [f"id{10001 + i}" for i in range(20)], "predict_speaker")


def er() -> Pair:
    classes = ["neu", "hap", "ang", "sad"]
    pair = _one_label("er", "emotion", classes, "predict")
    pair.expert.test_dataset = SimpleNamespace(idx2emotion=dict(enumerate(classes)))
    return pair


def ic() -> Pair:
    slots = {"action": ["set", "cut"], "object": ["heat", "lamp", "fan"], "location": ["none", "attic"]}
    targets = [f"{a}|{o}|{where}" for a in slots["action"] for o in slots["object"] for where in slots["location"]]
    material, task = labelled(targets), settings(load_trained("ic"), learning_rate=1e-3)
    problem = _label_problem(task, material, slots=lambda target: tuple(target.split("|")), join="|".join)
    expert = _pooled_expert("fluent_commands", task, n_outputs=7)
    expert.values_per_slot = [len(values) for values in slots.values()]
    # As the expert keeps it: by index and by name.
    expert.Sy_intent = {slot: dict(enumerate(values)) for slot, values in slots.items()}

    def arguments(utterances: Sequence[Utterance]) -> tuple[Any, ...]:
        names = [zip(slots.values(), u.target.split("|"), strict=True) for u in utterances]
        return [[values.index(name) for values, name in one] for one in names], [u.id for u in utterances]

    starts, outputs = np.cumsum([0, *expert.values_per_slot]), []
    for start, values, ours in zip(starts, slots.values(), problem.classes, strict=False):
        outputs += [int(start) + ours.index(value) for value in values]
    return Pair(
        compared="`fluent_commands` expert: projector, `UtteranceLevel`, loss over slots",
        problem=problem, material=material, expert=expert, arguments=arguments, outputs=outputs,
        names=_linear(PROJECTION | {"model.post_net.linear": "output"}),
        agreed=_texts_agree("predict", "|".join),
    )  # fmt: skip


def pr() -> Pair:
    from s3prl.downstream.ctc.text import WordTextEncoder
    from s3prl.downstream.model import FrameLevel

    task: Any = settings(_speaks("pr", "<unk>"), learning_rate=1e-3)
    phones = [token for token in task.target.vocabulary if token != "<unk>"]
    material, problem = _spelt(task, phones[:12])
    expert = _text_expert("ctc", task, WordTextEncoder(phones), lambda width, n: FrameLevel(width, n))
    return _ctc_pair("`ctc` expert: projector, `FrameLevel`, CTC", problem, material, expert, {}, str)


def sf() -> Pair:
    from s3prl.downstream.ctc.text import CharacterTextSlotEncoder

    task: Any = settings(_speaks("sf", "<unk>"), learning_rate=1e-2, projection_dim=32, hidden_dims=(24, 24))
    characters = [token for token in task.target.vocabulary if token != "<unk>"]
    material, problem = _spelt(task, ["PLAY", "O'ER", "A", "B-city ROME E-city", "B-artist DUO B E-artist", "IN"])
    encoder = CharacterTextSlotEncoder(characters, ["B-city", "E-city", "B-artist", "E-artist"])
    expert = _text_expert("ctc", task, encoder, _rnns(task))
    return _ctc_pair(
        "`ctc` expert: projector, `RNNs` (two BLSTM layers), CTC", problem, material, expert, _blstm(task), _slot_line
    )


def asr() -> Pair:
    from s3prl.downstream.asr.dictionary import Dictionary
    from s3prl.downstream.asr.expert import token_to_word

    task: Any = settings(_speaks("asr", "<pad>", "<unk>"), learning_rate=1e-2, projection_dim=32, hidden_dims=(24, 24))
    material, problem = _spelt(task, ["A", "BE", "SEE", "DEER", "O'ER"])
    dictionary = Dictionary()
    for character in "|ETAONIHSRDLUMCWFGYPBVKXJQZ'":
        dictionary.add_symbol(character)
    expert = _bare_expert("asr")
    expert.dictionary, expert.blank, expert.decoder = dictionary, dictionary.bos(), None
    expert.projector = nn.Linear(DIM, task.head.projection_dim)
    expert.model = _rnns(task)(task.head.projection_dim, len(dictionary.symbols))
    expert.objective = nn.CTCLoss(blank=expert.blank, zero_infinity=True)

    def arguments(utterances: Sequence[Utterance]) -> tuple[Any, ...]:
        # The lines of SequenceDataset._load_transcript and __init__ (asr/dataset.py).
        lines = [" ".join(list(u.target.replace(" ", "|"))) + " |" for u in utterances]
        labels = [dictionary.encode_line(line, line_tokenizer=lambda x: x.split()).long().numpy() for line in lines]
        return labels, [u.id for u in utterances]

    symbols = [" " if symbol == "|" else symbol for symbol in dictionary.symbols[1:]]
    return Pair(
        compared="`asr` expert: projector, `RNNs` (two BLSTM layers), CTC",
        problem=problem, material=material, expert=expert, arguments=arguments,
        names=_linear(PROJECTION | {"model.linear": "output"}) | _blstm(task),
        outputs=[0, *(problem.tokens.vocabulary.index(symbol) + 1 for symbol in symbols)],
        agreed=_texts_agree("pred_tokens", token_to_word),
    )  # fmt: skip


def sd() -> Pair:
    from s3prl.downstream.diarization.model import Model
    from s3prl.downstream.diarization.utils import pit_loss

    material, task = conversations(), settings(load_trained("sd"), learning_rate=3e-3, hidden_dims=(32,))
    problem = DiarizationProblem(
        task=task, decision=task.decision, fold=material.fold, features=material.states,  # type: ignore[attr-defined]
        frame_counts=material.frame_counts(), frame_seconds=FRAME_SECONDS, device=CPU,
    )  # fmt: skip
    label = problem.frames.label
    problem.frames.label = lambda utterance: label(utterance).to(torch.get_default_dtype())
    expert = _bare_expert("diarization")
    expert.model = Model(input_dim=DIM, output_class_num=2, rnn_layers=1, hidden_size=32)
    expert.objective, expert.save_predictions = pit_loss, False

    def arguments(utterances: Sequence[Utterance]) -> tuple[Any, ...]:
        labels = [problem.frames.label(utterance).numpy() for utterance in utterances]
        return labels, [len(label) for label in labels], "test"

    lstm = {f"model.rnn.{part}_l0": f"lstm0.forward.{part}" for part in _LSTM}
    return Pair(
        compared="`diarization` expert: `Model` (LSTM), permutation-free loss",
        problem=problem, material=material, expert=expert, arguments=arguments,
        names=lstm | _linear({"model.linear": "output"}), agreed=_segments_agree,
    )  # fmt: skip


def asv(*, n_frames: int | None = 40) -> Pair:
    """Training utterances have one length: s3prl pools a frame of padding into all others of a batch."""
    from s3prl.downstream.sv_voxceleb1.model import AMSoftmaxLoss, Model

    speakers, width, wide = [f"id{i}" for i in range(12)], 24, 40
    material = labelled(speakers, n_frames=n_frames)
    task = settings(
        load_trained("asv"), learning_rate=3e-4, projection_dim=width, hidden_dims=(width,) * 4 + (wide,),
        embedding_dim=width,
    )  # fmt: skip
    counts = material.frame_counts()
    problem = VerificationProblem(
        task=task, fold=material.fold, train=material.states, held_out=material.states, train_counts=counts,
        held_out_counts=counts, device=CPU,
    )  # fmt: skip
    expert = _bare_expert("sv_voxceleb1")
    expert.modelrc = {"module": "XVector"}
    expert.connector = nn.Linear(DIM, width)
    expert.model = Model(
        input_dim=width, agg_dim=wide, agg_module_name="SP", module_name="XVector",
        utterance_module_name="UtteranceExtractor", hparams={"agg_dim": wide, "dropout_p": 0.0, "batch_norm": False},
    )  # fmt: skip
    expert.objective = AMSoftmaxLoss(hidden_dim=width, speaker_num=len(speakers), s=30.0, m=0.4)
    expert.score_fn = nn.CosineSimilarity(dim=-1)
    layers = {"connector": "projection"}
    layers |= {f"model.framelevel_feature_extractor.module.{i}.kernel": f"tdnn{i}" for i in range(5)}
    layers |= {"model.utterancelevel_feature_extractor.linear1": "embedding"}
    layers |= {"model.utterancelevel_feature_extractor.linear2": "hidden"}
    return Pair(
        compared="`sv_voxceleb1` expert: connector, `XVector`, `SP`, `UtteranceExtractor`, `AMSoftmaxLoss`",
        problem=problem, material=material, expert=expert, names=_linear(layers) | {"objective.W": "speakers"},
        arguments=lambda us: ([u.id for u in us], [problem.speakers.index(u.target) for u in us]),
        agreed=_cosines_agree,
    )  # fmt: skip


TASKS: dict[str, Callable[[], Pair]] = {
    "pr": pr, "asr": asr, "ks": ks, "sid": sid, "er": er, "ic": ic, "sf": sf, "asv": asv, "sd": sd,
}  # fmt: skip


def own_rate(task: str) -> float:
    """The learning rate of s3prl's YAML."""
    (rate,) = load_trained(task).for_suite("superb", protocol="s3prl").protocol.learning_rates
    return rate


_LSTM = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _bare_expert(downstream: str) -> Any:
    """An expert before its constructor, which opens the corpus."""
    expert_class = importlib.import_module(f"s3prl.downstream.{downstream}.expert").DownstreamExpert
    expert = expert_class.__new__(expert_class)
    nn.Module.__init__(expert)
    return expert


def _linear(layers: dict[str, str]) -> dict[str, str]:
    return {f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in layers.items() for part in ("weight", "bias")}


def _blstm(task: TrainedSpec) -> dict[str, str]:
    return {
        f"model.rnns.{i}.layer.{part}_l0{suffix}": f"lstm{i}.{direction}.{part}"
        for i in range(len(task.head.hidden_dims))
        for direction, suffix in (("forward", ""), ("backward", "_reverse"))
        for part in _LSTM
    }


def _pooled_expert(downstream: str, task: TrainedSpec, *, n_outputs: int) -> Any:
    from s3prl.downstream.model import UtteranceLevel

    expert, width = _bare_expert(downstream), int(task.head.projection_dim)
    expert.projector = nn.Linear(DIM, width)
    expert.model = UtteranceLevel(input_dim=width, output_dim=n_outputs, pooling="MeanPooling")
    expert.objective = nn.CrossEntropyLoss()
    return expert


def _label_problem(task: TrainedSpec, material: Material, **slots: Any) -> LabelProblem:
    means = material.means()
    return LabelProblem(task=task, fold=material.fold, train=means, held_out=means, device=CPU, **slots)


def _one_label(name: str, downstream: str, classes: list[str], recorded: str) -> Pair:
    """``classes`` in their order; ours is the alphabet's."""
    material, task = labelled(classes), settings(load_trained(name), learning_rate=1e-3)
    problem = _label_problem(task, material, slots=one_slot)
    return Pair(
        compared=f"`{downstream}` expert: projector, `UtteranceLevel`, cross-entropy",
        problem=problem, material=material, expert=_pooled_expert(downstream, task, n_outputs=len(classes)),
        arguments=lambda us: ([classes.index(u.target) for u in us], [u.id for u in us]),
        names=_linear(PROJECTION | {"model.post_net.linear": "output"}),
        outputs=[problem.classes[0].index(one) for one in classes], agreed=_texts_agree(recorded, str),
    )  # fmt: skip


def _speaks(name: str, *never: str) -> Any:
    """The task with outputs that s3prl's dictionaries have and no text."""
    task: Any = load_trained(name)
    target = task.target.model_copy(update={"vocabulary": (*task.target.vocabulary, *never)})
    return task.model_copy(update={"target": target})


def _spelt(task: Any, units: Sequence[str]) -> tuple[Material, SequenceProblem]:
    tokens = Tokens.of(task.target, texts=units)
    material = spelt(units, tokens)
    problem = SequenceProblem(
        task=task, fold=material.fold, tokens=tokens, features=material.states, frame_counts=material.frame_counts(),
        device=CPU,
    )  # fmt: skip
    return material, problem


def _rnns(task: TrainedSpec) -> Callable[[int, int], Any]:
    from s3prl.downstream.asr.model import RNNs

    n = len(task.head.hidden_dims)
    return lambda width, n_outputs: RNNs(
        width, n_outputs, 320, module="LSTM", bidirection=True, dim=list(task.head.hidden_dims), dropout=[0.0] * n,
        layer_norm=[False] * n, proj=[False] * n, sample_rate=[1] * n, sample_style="concat", total_rate=-1,
    )  # fmt: skip


def _text_expert(downstream: str, task: TrainedSpec, encoder: Any, model: Callable[[int, int], Any]) -> Any:
    expert, width = _bare_expert(downstream), int(task.head.projection_dim)
    expert.tokenizer = encoder
    expert.projector, expert.model = nn.Linear(DIM, width), model(width, encoder.vocab_size)
    expert.objective = nn.CTCLoss(blank=encoder.pad_idx, zero_infinity=True)
    return expert


def _ctc_pair(
    compared: str,
    problem: SequenceProblem,
    material: Material,
    expert: Any,
    names: dict[str, str],
    line: Callable[[str], str],
) -> Pair:
    encoder = expert.tokenizer
    theirs = [encoder.idx_to_vocab(i) for i in range(1, encoder.vocab_size)]
    return Pair(
        compared=compared, problem=problem, material=material, expert=expert,
        arguments=lambda us: ([encoder.encode(line(u.target)) for u in us], [u.id for u in us]),
        names=_linear(PROJECTION | {"model.linear": "output"}) | names,
        outputs=[0, *(problem.tokens.vocabulary.index(token.strip(" ") or " ") + 1 for token in theirs)],
        agreed=_texts_agree("hypothesis", str.strip),
    )  # fmt: skip


def _slot_line(text: str) -> str:
    """The line that s3prl's encoder reads: words, and the slot of each."""
    words, labels, label = [], [], "O"
    for word in text.split():
        if word.startswith("B-"):
            label = word[2:]
        elif word.startswith("E-"):
            label = "O"
        else:
            words.append(word)
            labels.append(label)
    return f"BOS {' '.join(words)} EOS\tO {' '.join(labels)} O"


def _texts_agree(recorded: str, spell: Callable[[Any], str]) -> Callable[[Pair, Any, list[dict[str, Any]]], int]:
    def agreed(pair: Pair, featurizer: Any, rows: list[dict[str, Any]]) -> int:
        found = answers(pair, featurizer, recorded)
        return sum(spell(theirs) == row["prediction"] for theirs, row in zip(found, rows, strict=True))

    return agreed


def _segments_agree(pair: Pair, featurizer: Any, rows: list[dict[str, Any]]) -> int:
    """Segments from s3prl's probabilities by the lines of its ``make_rttm.py``, with the pair ours chose."""
    from scipy.signal import medfilt

    n_agreed, (threshold, median) = 0, pair.problem.decided
    for utterance, row in zip(pair.material.fold.test, rows, strict=True):
        scores = pair.expert.model(torch.stack(features(pair, featurizer, [utterance])))[0].numpy()
        active = np.where(1 / (1 + np.exp(-scores)) > threshold, 1, 0)
        if median > 1:
            active = medfilt(active, (median, 1))
        segments = []
        for speaker, frames in enumerate(active.T):
            (changes,) = np.where(np.diff(np.pad(frames, (1, 1), "constant"), axis=0) != 0)
            segments += [[speaker, int(s), int(e)] for s, e in zip(changes[::2], changes[1::2], strict=True)]
        n_agreed += sorted(segments) == sorted([int(part) for part in one] for one in row["prediction"])
    return n_agreed


def _cosines_agree(pair: Pair, featurizer: Any, rows: list[dict[str, Any]]) -> int:
    """The cosine of each trial within the tolerance, which float32 sums in another order need."""
    embedded: dict[str, Any] = {}
    for utterance in pair.material.fold.test:
        records: dict[str, Any] = {}
        pair.expert("test", features(pair, featurizer, [utterance]), [utterance.id], records=records)
        embedded |= records
    found = [pair.expert.score_fn(embedded[row["enrolment"]], embedded[row["test"]]).item() for row in rows]
    return sum(abs(score - row["score"]) <= COSINE_TOLERANCE for score, row in zip(found, rows, strict=True))
