"""A model to time others against: PyTorch's own Transformer layers and nothing of ours.

A slowdown of this package's code cannot slow it, and a slow machine slows both, so the ratio of two throughputs
measured in turn tells one from the other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skill_bench.measure.throughput import Encode, measure_throughput

NAME = "reference-v3"
_SAMPLES_PER_FRAME, _WIDTH = 320, 256


class ReferenceModel(nn.Module):
    """A linear front end of 20 ms frames and four Transformer layers of width 256, seeded."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.frontend = nn.Linear(_SAMPLES_PER_FRAME, _WIDTH)
            layer = nn.TransformerEncoderLayer(_WIDTH, nhead=4, dim_feedforward=4 * _WIDTH, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, num_layers=4, enable_nested_tensor=False)
        self.eval()

    @torch.no_grad()
    def hidden_states(self, waves: list[Tensor]) -> list[Tensor]:
        """One utterance (samples,) after the other, to (frames, 256)."""
        return [self.layers(self.frontend(self._frames(wave))[None])[0] for wave in waves]

    @staticmethod
    def _frames(wave: Tensor) -> Tensor:
        n = len(wave) // _SAMPLES_PER_FRAME
        return wave[: n * _SAMPLES_PER_FRAME].reshape(n, _SAMPLES_PER_FRAME)


def throughput_ratio(
    encode: Encode, *, device: torch.device | str = "cpu", utterance_seconds: float = 10.0, n_rounds: int = 5
) -> float:
    """How many times as fast as the reference model ``encode`` is: the best of each over rounds that time both in turn.

    The best, because what else a machine of continuous integration does can slow a round, and cannot speed it up.
    """
    reference = ReferenceModel().to(device)
    rounds = [
        [
            measure_throughput(one, utterance_seconds=utterance_seconds, n_repeats=2, device=device).maximum
            for one in (encode, reference.hidden_states)
        ]
        for _ in range(n_rounds)
    ]
    own, its = (max(best) for best in zip(*rounds, strict=True))
    return float(own / its)
