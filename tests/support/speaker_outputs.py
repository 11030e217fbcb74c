"""What outputs for speakers who never occur cost a short SID training: s3prl's head has 1251, whatever the data.

By hand, a minute on one core::

    python tests/support/speaker_outputs.py FOLDER

A plain loop of Adam over the time means of `training_parity`'s SID data, with its settings, for several seeds.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

import torch
from torch import Tensor, nn
from training_parity import SETTINGS, UPSTREAM

from skill_bench.corpora.suite import load_task_data
from skill_bench.features.extract import extract
from skill_bench.features.upstream import load_upstream

S3PRL_OUTPUTS, MAX_SECONDS = 1251, 8.0


def main() -> None:
    """Prints test accuracies with an output a speaker and with s3prl's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corpora", type=Path, default=os.environ.get("SKILL_BENCH_CORPORA"))
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    cache_dir = arguments.folder / "cache"
    data = load_task_data("local", "sid", data_root=arguments.corpora, cache_dir=cache_dir)
    (fold,) = data.folds
    speakers = sorted({utterance.target for utterance in fold.train})
    upstream = load_upstream(UPSTREAM)
    parts = []
    for name, part in fold.splits():
        longest = MAX_SECONDS if name == "train" else None
        found = extract(upstream, part, pooled=True, cache_dir=cache_dir, max_seconds=longest)
        labels = torch.tensor([speakers.index(utterance.target) for utterance in part])
        parts.append((torch.stack([found[utterance.id] for utterance in part]), labels))
    for n_outputs in (len(speakers), S3PRL_OUTPUTS):
        scores = [accuracy(parts, n_outputs=n_outputs, seed=seed) for seed in range(arguments.seeds)]
        print(
            f"{n_outputs} outputs: {statistics.fmean(scores):.2f} ({', '.join(f'{score:.1f}' for score in scores)})",
            flush=True,
        )


def accuracy(parts: list[tuple[Tensor, Tensor]], *, n_outputs: int, seed: int) -> float:
    """Test accuracy (per cent) of the step that is best on dev; ``parts``: train, dev and test, as means and labels."""
    settings, (means, labels) = SETTINGS["sid"], parts[0]
    torch.manual_seed(seed)
    layers = nn.Parameter(torch.zeros(means.shape[1]))
    head = nn.Sequential(nn.Linear(means.shape[2], 256), nn.Linear(256, n_outputs))
    parameters = [layers, *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=settings["learning_rate"])

    def logits(x: Tensor) -> Tensor:
        found: Tensor = head((x * layers.softmax(0)[None, :, None]).sum(1))
        return found

    step, best = 0, (-1.0, 0.0)
    while step < settings["steps"]:
        for chosen in torch.split(torch.randperm(len(means)), settings["batch_size"]):
            if step == settings["steps"]:
                break
            step += 1
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits(means[chosen]), labels[chosen]).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            if step % settings["evaluate_every_steps"] == 0:
                with torch.no_grad():
                    dev, test = (float((logits(x).argmax(1) == y).float().mean()) for x, y in parts[1:])
                best = max(best, (dev, test), key=lambda one: one[0])
    return 100 * best[1]


if __name__ == "__main__":
    main()
