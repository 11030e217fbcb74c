"""The x-vector (Snyder et al. 2018) with AM-softmax (Wang et al. 2018, arXiv 1801.05599, equation 6).

As s3prl 0.4.18 ``downstream/sv_voxceleb1/model.py`` (``Model`` with ``XVector``, ``SP``, ``UtteranceExtractor``, and
``AMSoftmaxLoss``): projection, five time-delay layers that look ±7 frames around, mean and unbiased standard
deviation over time, two linear layers with ReLU in training, the first of them in evaluation. Where we differ: s3prl
pools one frame of padding into all but the longest utterance of a batch; here an utterance's embedding does not depend
on its batch.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skill_bench.probes.heads import LAYER_SCORES
from skill_bench.probes.parameters import Parameters, apply_linear, linear, weighted_sum
from skill_bench.tasks import Head

# Frames that a layer sees, and the distance between them.
CONTEXTS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
N_FRAMES_LOST = sum((size - 1) * dilation for size, dilation in CONTEXTS)
MIN_FRAMES = N_FRAMES_LOST + 2
"""A standard deviation needs two frames."""


def initial(head: Head, *, n_layers: int, dim: int, n_speakers: int, generator: torch.Generator) -> Parameters:
    """Parameters of one cell; linear layers as `torch.nn.Linear`, the speakers' directions by Xavier's normal."""
    parameters: Parameters = {LAYER_SCORES: torch.zeros(n_layers)}
    width = int(head.projection_dim) or dim
    if head.projection_dim:
        parameters |= linear("projection", inputs=dim, outputs=width, generator=generator)
    for i, ((size, _), outputs) in enumerate(zip(CONTEXTS, head.hidden_dims, strict=True)):
        parameters |= linear(f"tdnn{i}", inputs=size * width, outputs=outputs, generator=generator)
        width = outputs
    embedding = int(head.embedding_dim)
    parameters |= linear("embedding", inputs=2 * width, outputs=embedding, generator=generator)
    parameters |= linear("hidden", inputs=embedding, outputs=embedding, generator=generator)
    scale = math.sqrt(2 / (embedding + n_speakers))
    return parameters | {"speakers": torch.randn(embedding, n_speakers, generator=generator) * scale}


def embeddings(
    head: Head, parameters: Parameters, features: Float[Tensor, "layers rows dim"], *, lengths: list[int]
) -> Float[Tensor, "cells utterances embedding"]:
    """What verification compares: the first linear layer after pooling.

    Args:
        head: Which head.
        parameters: As `initial`, with the leading dimension of `parameters.repeat`.
        features: Layers of all rows.
        lengths: Rows of each utterance, at least `MIN_FRAMES`.
    """
    rows = weighted_sum(parameters[LAYER_SCORES], features)
    if head.projection_dim:
        rows = apply_linear(parameters, "projection", rows)
    pooled = torch.stack([_pooled(parameters, cell, one, lengths) for cell, one in enumerate(rows.unbind(0))])
    return apply_linear(parameters, "embedding", pooled).relu()


def losses(
    head: Head, parameters: Parameters, embedded: Float[Tensor, "cells utterances embedding"], labels: list[int]
) -> Float[Tensor, " cells"]:
    """AM-softmax, mean over utterances, in every cell."""
    hidden = F.normalize(apply_linear(parameters, "hidden", embedded).relu(), dim=-1)
    cosines = hidden @ F.normalize(parameters["speakers"], dim=1)
    index = torch.tensor(labels, device=cosines.device)
    margins = head.margin * F.one_hot(index, cosines.shape[-1]).to(cosines)
    logits = head.scale * (cosines - margins)
    right = logits.gather(-1, index.expand(len(cosines), -1)[..., None]).squeeze(-1)
    return (logits.logsumexp(dim=-1) - right).mean(dim=1)


def _pooled(
    parameters: Parameters, cell: int, rows: Float[Tensor, "rows dim"], lengths: list[int]
) -> Float[Tensor, "utterances twice_width"]:
    """Mean and standard deviation over time of the time-delay layers' output, of one cell.

    Layers see no padding: what they make of the end of a shorter utterance and its padding is cut off.
    """
    padded = torch.nn.utils.rnn.pad_sequence(list(torch.split(rows, lengths)), batch_first=True).transpose(1, 2)
    for i, (size, dilation) in enumerate(CONTEXTS):
        weight, bias = parameters[f"tdnn{i}.weight"][cell], parameters[f"tdnn{i}.bias"][cell]
        kernel = weight.view(len(weight), size, -1).transpose(1, 2)
        padded = F.conv1d(padded, kernel, bias, dilation=dilation).relu()
    inside = [one[:, : length - N_FRAMES_LOST] for one, length in zip(padded, lengths, strict=True)]
    return torch.stack([torch.cat([one.mean(dim=1), one.std(dim=1)]) for one in inside])
