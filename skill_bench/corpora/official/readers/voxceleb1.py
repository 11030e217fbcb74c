"""VoxCeleb1 for SID and ASV.

SID: ``iden_split.txt`` (1 train, 2 dev, 3 test; s3prl ``downstream/voxceleb1/dataset.py``). ASV: train on the 1211
speakers of ``dev/``, test on the trials of ``voxceleb1_test_v2.txt`` over ``test/`` (s3prl
``downstream/sv_voxceleb1``). s3prl has no dev set and reports the best checkpoint on test; here one of 24 speakers of
``dev/`` (50 of 1211), by a hash, is held out, with trials drawn among them.
"""

from __future__ import annotations

from pathlib import Path

from skill_bench.base.errors import DataError
from skill_bench.base.hashed import digest
from skill_bench.corpora.data import Fold, Utterance
from skill_bench.corpora.described.lists import drawn_trials, read_trials
from skill_bench.corpora.described.tables import Trials
from skill_bench.corpora.official.files import all_present, audio_below, lines_of, listed

CORPUS = "voxceleb1"
_IDENTIFICATION, _VERIFICATION = "iden_split.txt", "voxceleb1_test_v2.txt"
_ONE_OF = 24
_DEV_TRIALS = Trials(seed=0, same_per_speaker=40, different_per_speaker=40)


def sid(folder: Path) -> tuple[Fold, ...]:
    """1251 speakers.

    Raises:
        DataError: the list is missing or faulty, or names files that are not there.
    """
    listing = folder / _IDENTIFICATION
    parts: dict[str, list[Utterance]] = {"1": [], "2": [], "3": []}
    # The audio of the 40 speakers of the verification test lies in test/, that of the others in dev/.
    tested = {path.name for path in (folder / "test" / "wav").glob("id*")}
    for line in lines_of(listing):
        (code, name), number = line.pair(), line.number
        if code not in parts or not name:
            raise DataError(f"{listing}:{number}: found {line.text!r}; expected '1 id10001/video/00001.wav'.")
        half = "test" if name.split("/")[0] in tested else "dev"
        parts[code].append(
            _utterance(
                listed(folder / half / "wav", name, where=f"{listing}:{number}"), name, f"{listing.name}:{number}"
            )
        )
    all_present((u.path for part in parts.values() for u in part), named_by=listing)
    return (Fold(name="all", train=tuple(parts["1"]), dev=tuple(parts["2"]), test=tuple(parts["3"])),)


def asv(folder: Path) -> tuple[Fold, ...]:
    """Train, held-out dev and test speakers, with trials over the last two.

    Raises:
        DataError: a folder or the list is missing.
        ManifestError: the list names files that are not there.
    """
    spoken = _below(folder / "dev" / "wav")
    speakers = sorted({u.target for u in spoken}, key=digest)
    held_out = set(speakers[: max(2, len(speakers) // _ONE_OF)])
    dev = tuple(u for u in spoken if u.target in held_out)
    listing = folder / _VERIFICATION
    recorded = _below(folder / "test" / "wav")
    trials = read_trials(listing, {u.id: u.id for u in recorded})
    named = {end for trial in trials for end in (trial.enrolment, trial.test)}
    return (
        Fold(
            name="all",
            train=tuple(u for u in spoken if u.target not in held_out),
            dev=dev,
            test=tuple(u for u in recorded if u.id in named),
            dev_trials=drawn_trials(dev, _DEV_TRIALS, attribute=lambda u: "", where=str(folder / "dev")),
            trials=trials,
        ),
    )


TASKS = {"sid": sid, "asv": asv}


def _below(folder: Path) -> tuple[Utterance, ...]:
    names = (path.relative_to(folder).as_posix() for path in audio_below(folder, "id*/*/*.wav"))
    return tuple(_utterance(folder / name, name, name) for name in names)


def _utterance(path: Path, name: str, source: str) -> Utterance:
    speaker = name.split("/")[0]
    return Utterance(id=name, path=path, target=speaker, speaker=speaker, seconds=None, source=source)
