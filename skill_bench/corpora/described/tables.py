"""The smaller tables of a suite.toml; `skill_bench.corpora.described.suite_toml` shows all of them in one example."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from skill_bench.base.specs import Count, Frozen, Positive


class Strict(Frozen):
    """Base of every table: no silent conversions."""

    model_config = ConfigDict(strict=True)


Names = Annotated[list[str], Field(min_length=1)]
_MANY = 1_000_000
Items = Annotated[Positive, Field(le=_MANY)]
AnyItems = Annotated[Count, Field(le=_MANY)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]
Seconds = Annotated[float, Field(gt=0.025, le=3600)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]


class Split(Strict):
    """Which values of a column mean train, dev and test."""

    column: str = "split"
    train: Names = Field(default=["train"])
    dev: Names = Field(default=["dev"])
    test: Names = Field(default=["test"])

    @model_validator(mode="after")
    def _disjoint(self) -> Split:
        values = [*self.train, *self.dev, *self.test]
        if len(set(values)) < len(values):
            raise ValueError("train, dev and test share a value")
        return self


class Folds(Strict):
    """Cross-validation: each value of a column is once the test part; dev is drawn from the rest."""

    column: str
    dev_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: Seed = 0


class Silence(Strict):
    """Utterances cut from noise recordings; train, dev and test cut disjoint stretches of each.

    A count of None means the mean number of utterances of the other labels.
    """

    noise: Names
    target: str = "_silence_"
    seconds: Seconds = 1.0
    train: AnyItems | None = None
    dev: AnyItems | None = None
    test: AnyItems | None = None


class Phones(Strict):
    """What to do with a column of space-separated phones.

    ``inventory``: the phones that may occur; another one is an error of the manifest. None allows all.
    """

    drop: list[str] = Field(default=[])
    strip_stress: bool = False
    inventory: Names | None = None


class Text(Strict):
    """What to do with a transcript: characters to remove; it is upper-cased and its blanks collapsed anyway.

    ``characters``: those that may remain; another one is an error of the manifest. None allows all.
    """

    remove: str = ""
    characters: str | None = None


class ConditionRanges(Strict):
    """Ranges, ``[least, most]``, that each utterance's imitated recording conditions are drawn from."""

    gain_db: Range
    low_hz: Range
    high_hz: Range
    snr_db: Range
    noise_tilt: Range = Field(default=[0.0, 0.9])

    @model_validator(mode="after")
    def _usable(self) -> ConditionRanges:
        for name in type(self).model_fields:
            least, most = getattr(self, name)
            if least > most:
                raise ValueError(f"{name} is [least, most], found [{least}, {most}]")
        for name in ("gain_db", "snr_db"):
            if max(map(abs, getattr(self, name))) > 200:
                raise ValueError(f"{name} lies in -200 to 200 dB")
        if self.low_hz[0] < 1 or self.low_hz[1] >= self.high_hz[0] or self.high_hz[1] >= 8000:
            raise ValueError("1 <= low_hz < high_hz < 8000 is needed")
        if self.noise_tilt[0] < 0 or self.noise_tilt[1] >= 1:
            raise ValueError("noise_tilt lies in [0, 1)")
        return self


class ConditionTable(Strict):
    """Imitated recording conditions. Dev is drawn like test; of several folds each has ranges between the two."""

    seed: Seed = 0
    train: ConditionRanges
    test: ConditionRanges


class Trials(Strict):
    """Verification trials over dev and over test, drawn with a seed.

    ``match`` names a column in which the two speakers of a different-speaker trial agree (their sex, say).
    """

    seed: Seed = 0
    same_per_speaker: Items = 6
    different_per_speaker: Items = 6
    match: str | None = None


class Mixtures(Strict):
    """Two-speaker mixtures of the manifest's utterances, rendered into the cache folder."""

    seed: Seed = 0
    train: Items
    dev: Items
    test: Items
    max_seconds: Annotated[float, Field(gt=0.5, le=3600)] = 5.0
    level_spread_db: Annotated[float, Field(ge=0, le=100)] = 4.0


class Recordings(Strict):
    """Whole recordings with a reference diarization, added to the test part."""

    manifest: str
    rttm: str = "rttm"


class Documents(Strict):
    """Documents for spoken-term search: one speaker's clips in a row, rendered into the cache folder."""

    seed: Seed = 0
    terms: Annotated[int, Field(ge=2, le=1000)] = 4
    dev: Items
    test: Items
    gap_seconds: Range = Field(default=[0.02, 0.2])

    @model_validator(mode="after")
    def _gap(self) -> Documents:
        if not 0 <= self.gap_seconds[0] <= self.gap_seconds[1] <= 3600:
            raise ValueError("gap_seconds is [least, most], from 0 on")
        return self


class Queries(Strict):
    """Which lines are the spoken terms to find; drawn with a seed where a count is given.

    A document contains a query whose whole target is a stretch of words in the document's.
    """

    column: str = "split"
    dev: Names
    test: Names
    n_dev: Items | None = None
    n_test: Items | None = None
    seed: Seed = 0
