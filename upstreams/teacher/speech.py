"""The speech that the teacher hears beside the corpora of the local suites, out of public repositories.

    python upstreams/teacher/speech.py --clones CLONES --corpora CORPORA --out SPEECH

CLONES holds a clone of each repository in `SOURCES` under its name; CORPORA is the folder that `--data-root` names.
No recording that a suite tests or develops on is taken, and no speaker of a development or test part (`split`): only
of speakers whom SID, a task of known speakers, tests too are there other recordings. Nor anything that CORPORA has.
Silence at both ends is cut off. SPEECH is then one more `--data` of `skill-bench pretrain`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from skill_bench.base.documents import write_atomic
from skill_bench.base.errors import DataError
from skill_bench.base.sample_rate import SAMPLE_RATE_HZ
from skill_bench.base.text import read_csv, read_lines, read_text
from skill_bench.corpora.audio.audio import load_audio
from skill_bench.corpora.described.manifest import read_manifest

FRAME = SAMPLE_RATE_HZ // 100
"""Samples of a frame whose energy decides what is silence: 10 ms."""

QUIETER_DB, MARGIN_FRAMES, MIN_SECONDS = 35.0, 10, 0.4
"""Silence at the ends is this much below the loudest frame; so many frames of it stay; what is shorter is left out."""

PUBLIC_DOMAIN = "place any and all contributions by me into the public domain"

# Folders of DSPSpeech-20 whose speakers the corpus of the suites, which renamed them, has in its training part.
_DSPSPEECH_SPEAKERS = (
    "15307110252", "15307130232", "15307130233", "16307110134", "16307110258", "16307130025", "16307130040",
    "16307130133", "16307130192", "16307130194", "16307130198", "16307130228", "16307130260", "16307130302",
    "16307130322", "16307130345", "17307130064", "17307130106", "17307130162", "17307130354",
)  # fmt: skip
_DSPSPEECH_ROUNDS = 7  # that the corpus of the suites has


@dataclass(frozen=True)
class Found:
    """A recording: where it is, and who speaks."""

    path: Path
    speaker: str


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a manifest of the suites' corpora says.

    Attributes:
        names: of its recordings, without folder and suffix.
        held_out: speakers of its development and test parts.
        keywords: that it has.
    """

    names: frozenset[str]
    held_out: frozenset[str]
    keywords: frozenset[str]

    @classmethod
    def read(cls, corpora: Path, corpus: str) -> Known:
        """Raises ManifestError: ``corpora`` has no such corpus."""
        rows = [row.values for row in read_manifest(corpora / corpus / "manifest.tsv").rows]
        return cls(
            names=frozenset(Path(row["path"]).stem for row in rows),
            held_out=frozenset(row["speaker"] for row in rows if row["split"] != "train"),
            keywords=frozenset(row.get("keyword", "") for row in rows),
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A repository of speech: ``commit`` and ``licence`` of what is taken of it."""

    repository: str
    commit: str
    licence: str

    def find(self, clone: Path, corpora: Path) -> Iterator[Found]:
        """Its recordings that the teacher may hear."""
        raise NotImplementedError


class SpeechOcean(Source):
    """The official training list."""

    def find(self, clone: Path, corpora: Path) -> Iterator[Found]:
        known = Known.read(corpora, "speechocean762")
        speakers = dict(line.text.split() for line in read_lines(clone / "train" / "utt2spk"))
        for line in read_lines(clone / "train" / "wav.scp"):
            name, path = line.text.split()
            if name not in known.names and speakers[name] not in known.held_out:
                yield Found(clone / path, speakers[name])


class ArabicCommands(Source):
    """Words of training speakers that no suite knows."""

    def find(self, clone: Path, corpora: Path) -> Iterator[Found]:
        known = Known.read(corpora, "arabic_speech_commands")
        for _, row in read_csv(clone / "train.csv")[1]:
            speaker = Path(row["file"]).name[:8]
            if row["class"] not in known.keywords and speaker not in known.held_out:
                yield Found(clone / row["file"], speaker)


class DspSpeech(Source):
    """Rounds of training speakers that the suites' corpus does not have."""

    def find(self, clone: Path, corpora: Path) -> Iterator[Found]:
        for speaker in _DSPSPEECH_SPEAKERS:
            for path in sorted((clone / "speech_data" / speaker).glob("*.wav")):
                if int(path.stem.rsplit("-", 1)[1]) > _DSPSPEECH_ROUNDS:
                    yield Found(path, speaker)


@dataclass(frozen=True, kw_only=True)
class Folders(Source):
    """All recordings in folders."""

    folders: Sequence[str]

    def find(self, clone: Path, corpora: Path) -> Iterator[Found]:
        for folder in self.folders:
            for path in sorted((clone / folder).rglob("*.wav")):
                # Google Speech Commands names the speaker first.
                yield Found(path, path.stem.split("_nohash_")[0] if "_nohash_" in path.stem else "")


class PublicDomain(Source):
    """Speech that a file in licenses/ names as given to the public domain."""

    def find(self, clone: Path, corpora: Path) -> Iterator[Found]:
        texts = [read_text(path) for path in sorted((clone / "licenses").glob("license-2*.txt"))]
        given = {Path(line.strip()).name for text in texts if PUBLIC_DOMAIN in text for line in text.splitlines()}
        for path in sorted(clone.rglob("*.wav")):
            if path.name in given and not path.name.startswith("noise-"):
                yield Found(path, "")


SOURCES: Sequence[Source] = (
    SpeechOcean(repository="jimbozhang/speechocean762", commit="613968e3", licence="CC BY 4.0 (OpenSLR SLR101)"),
    ArabicCommands(
        repository="abdulkaderghandoura/arabic-speech-commands-dataset", commit="72f34382", licence="CC BY 4.0"
    ),
    DspSpeech(repository="zhongyuchen/DSPSpeech-20", commit="8165959", licence="MIT"),
    Folders(
        repository="manashmandal/DeadSimpleSpeechRecognizer",
        commit="881b36a6",
        licence="CC BY 4.0 (Google Speech Commands)",
        folders=("data/bed", "data/cat", "data/happy"),
    ),
    Folders(repository="Picovoice/wake-word-benchmark", commit="84919190", licence="Apache 2.0", folders=("audio",)),
    PublicDomain(repository="MycroftAI/Precise-Community-Data", commit="4854e39b", licence="public domain"),
)


def trimmed(wave: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    """``wave`` at 16 kHz without the silence at its ends."""
    n_frames = len(wave) // FRAME
    if n_frames == 0:
        return wave[:0]
    frames = wave[: n_frames * FRAME].astype(np.float64).reshape(n_frames, FRAME)
    level = 10 * np.log10(frames.var(axis=1) + 1e-10)
    (loud,) = np.nonzero(level >= level.max() - QUIETER_DB)
    first, last = loud[0] - MARGIN_FRAMES, loud[-1] + 1 + MARGIN_FRAMES
    return wave[max(0, first) * FRAME : last * FRAME]


def gather(clones: Path, corpora: Path, out: Path, *, sources: Iterable[Source] = SOURCES) -> Mapping[str, float]:
    """Writes 16 kHz FLAC and manifest.tsv into ``out``; returns the seconds that each repository gave.

    Raises:
        DataError: a clone that is missing or in which nothing is found.
        ManifestError: ``corpora`` lacks a corpus.
        AudioError: a damaged recording.
    """
    rows: list[tuple[str, str, str, str]] = []
    taken: dict[str, float] = {}
    with ThreadPoolExecutor() as pool:
        for source in sources:
            name = source.repository.split("/")[1]
            found = list(source.find(clones / name, corpora)) if (clones / name).is_dir() else []
            if not found:
                raise DataError(f"{clones / name}: no speech. Expected a clone of {source.repository} there.")
            (out / name).mkdir(parents=True, exist_ok=True)
            written = [out / name / f"{number:05d}.flac" for number in range(len(found))]
            seconds = list(pool.map(_write, found, written))
            taken[source.repository] = sum(seconds)
            rows += [
                (str(path.relative_to(out)), f"{lasts:.3f}", one.speaker, "train")
                for path, one, lasts in zip(written, found, seconds, strict=True)
                if lasts
            ]
    lines = ["\t".join(row) for row in [("path", "seconds", "speaker", "split"), *rows]]
    write_atomic(out / "manifest.tsv", "".join(f"{line}\n" for line in lines).encode())
    return taken


def _write(found: Found, path: Path) -> float:
    """Seconds that are left of a recording, 0 if it is too short to be written."""
    wave = load_audio(found.path, source=str(found.path)).waveform.numpy()
    spoken = trimmed(wave)
    if len(spoken) < MIN_SECONDS * SAMPLE_RATE_HZ:
        return 0.0
    soundfile.write(path, spoken, SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
    return len(spoken) / SAMPLE_RATE_HZ


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--clones", "--corpora", "--out"):
        parser.add_argument(option, type=Path, required=True)
    arguments = parser.parse_args()
    for repository, seconds in gather(arguments.clones, arguments.corpora, arguments.out).items():
        print(f"{repository}: {seconds / 3600:.2f} h")
