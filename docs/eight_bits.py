"""What 8 bits do to the bundled student's hidden states: docs/eight_bits.json, a table of docs/how-to/deploying.md.

python docs/eight_bits.py SPEECH    # measures: a folder of audio, a LibriSpeech tree or a manifest.tsv; 5 minutes
python docs/deployed.py             # writes the table
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor

from skill_bench.base import catalog
from skill_bench.base.documents import write_atomic
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.corpora.audio.audio import load_utterance
from skill_bench.corpora.listing import list_audio
from skill_bench.layers.measure import choose
from skill_bench.models import checkpoint
from skill_bench.models.encoder import Encoder
from skill_bench.models.export.onnx import Graph, build
from skill_bench.models.export.quantise import quantise
from skill_bench.models.runtime import Session

MEASURED = Path(__file__).with_name("eight_bits.json")
N_UTTERANCES, MOST_SECONDS = 32, 10


def measure(folder: Path) -> dict[str, Any]:
    """The student with one part in 8 bits at a time; ranges are learnt from other utterances than those heard."""
    encoder = checkpoint.load(catalog.entry("upstreams", "skill") / "skill.safetensors").encoder
    chosen = choose(list_audio([folder]), n=N_UTTERANCES, seed=0)
    waves = [load_utterance(one).waveform[: MOST_SECONDS * SAMPLE_RATE_HZ] for one in chosen]
    heard, learnt_from = waves[::4], [wave for index, wave in enumerate(waves) if index % 4]
    off = {name: _off(encoder, graph, heard) for name, graph in _graphs(build(encoder), learnt_from)}
    return {"speech": folder.name, "n_learnt_from": len(learnt_from), "n_heard": len(heard), "off": off}


def _graphs(graph: Graph, speech: Sequence[Tensor]) -> Iterator[tuple[str, onnx.ModelProto]]:
    yield "int8", quantise(graph, "int8", speech=())
    yield "int8-static", quantise(graph, "int8-static", speech=speech)
    *front_end, position = [
        node.name for node in onnx.load_model_from_string(graph.proto).graph.node if node.op_type == "Conv"
    ]
    for number, name in enumerate(front_end):
        yield f"convolution {number}", quantise(graph, "int8-static", speech=speech, nodes=[name])
    yield "positional convolution", quantise(graph, "int8-static", speech=speech, nodes=[position])


@torch.no_grad()
def _off(encoder: Encoder, graph: onnx.ModelProto, heard: Sequence[Tensor]) -> float:
    """Length of the difference by length of the state, mean over states and utterances."""
    session = Session(encoder.architecture, graph.SerializeToString())
    found = []
    for wave in heard:
        for ours, theirs in zip(session.hidden_states([wave])[0], encoder(wave[None])[0], strict=True):
            found.append(float((ours - theirs[0]).norm() / theirs.norm()))
    return statistics.fmean(found)


def table() -> str:
    """What was measured, a row a part."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    off: dict[str, float] = found["off"]
    first, *inner = (value for name, value in off.items() if name.startswith("convolution"))
    rows = [
        ("linear layers, ranges found in every utterance (`int8`)", f"{off['int8']:.1%}"),
        ("linear layers, ranges learnt from speech (`int8-static`)", f"{off['int8-static']:.1%}"),
        ("the first convolution alone", f"{first:.0%}"),
        (f"one of the {len(inner)} inner convolutions of the front end alone", f"{min(inner):.0%} to {max(inner):.0%}"),
        ("the positional convolution alone", f"{off['positional convolution']:.1%}"),
    ]
    return "\n".join(["| in 8 bits | states off |", "|---|--:|", *(f"| {name} | {value} |" for name, value in rows)])


if __name__ == "__main__":
    write_atomic(MEASURED, (json.dumps(measure(Path(sys.argv[1])), indent=1) + "\n").encode())
