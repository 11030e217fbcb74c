"""The part of espeak-ng that we need, through ctypes on the library that espeakng-loader ships.

The library keeps global state: what it says depends a little on what it said before.
`skill_bench.corpora.synthetic.synthesis` therefore runs it in a process of its own, which is also where a
crash of it stays.

Source of constants and signatures: espeak-ng, src/include/espeak-ng/speak_lib.h (1.52).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

from skill_bench.base.errors import SkillBenchError, UsageError

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_PHONEMES_IPA = 0x02
_SEPARATOR = "_"
_STRESS_MARKS = str.maketrans("", "", "ˈˌ")
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
VARIANTS = (
    "adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb",
    "david", "Denis", "Diogo", "ed", "edward", "edward2", "f1", "f2", "f3", "f4", "f5", "Gene", "grandma", "grandpa",
    "gustave", "ian", "iven2", "iven3", "Jacky", "john", "kaukovalta", "klatt", "klatt2", "klatt3", "klatt4", "Lee",
    "linda", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Marco", "Mario", "max", "Michael", "michel", "Mike",
    "Nguyen", "norbert", "pablo", "paul", "pedro", "quincy", "Reed", "rob", "sandro", "shelby", "steph", "steph3",
    "travis", "victor", "zac",
)  # fmt: skip
"""Those that sound like somebody: no robots, whispers, demons or long echoes."""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """How something is said.

    Attributes:
        language: espeak-ng's name, as ``en-us``.
        variant: A file of espeak-ng-data/voices/!v, as ``f2``: the timbre.
        pitch: 0 to 99, the base pitch.
        pitch_range: 0 to 99, 50 is normal, 0 monotone.
        rate_wpm: Words per minute, 80 to 450.
        volume: 0 to 200, 100 is normal.
    """

    language: str = "en-us"
    variant: str = ""
    pitch: int = 50
    pitch_range: int = 50
    rate_wpm: int = 175
    volume: int = 100

    @property
    def name(self) -> str:
        """The name that espeak-ng loads."""
        return f"{self.language}+{self.variant}" if self.variant else self.language


class Espeak:
    """The loaded library; one a process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.rate_hz: int = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, str(espeakng_loader.get_data_path()).encode(), _INITIALIZE_DONT_EXIT
        )
        if self.rate_hz <= 0:
            raise SkillBenchError(
                "espeak-ng does not start. Reinstall it: pip install --force-reinstall espeakng-loader"
            )
        self._pieces: list[NDArray[np.int16]] = []
        self._callback = _CALLBACK(self._collect)  # kept: the library holds only a pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: Voice) -> NDArray[np.int16]:
        """Samples at ``rate_hz``.

        Raises:
            UsageError: no such voice.
            SkillBenchError: nothing was spoken.
        """
        self._select(voice)
        settings = (
            (_RATE, voice.rate_wpm),
            (_VOLUME, voice.volume),
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
        )
        for parameter, value in settings:
            self._library.espeak_SetParameter(parameter, value, 0)
        # Breathy voices draw noise, which otherwise starts from the time of day.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._pieces.clear()
        encoded = text.encode()
        status = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded) + 1), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        if status != 0 or not self._pieces:
            raise SkillBenchError(f"espeak-ng says nothing for {text!r} with voice {voice.name!r} (status {status})")
        return np.concatenate(self._pieces)

    def phones(self, text: str, voice: Voice) -> tuple[str, ...]:
        """IPA phones of ``text`` in the voice's language, without stress marks."""
        self._select(voice)
        pointer = ctypes.c_char_p(text.encode())
        clauses = []
        while pointer.value:
            clause = self._library.espeak_TextToPhonemes(
                ctypes.byref(pointer), _CHARS_UTF8, _PHONEMES_IPA | ord(_SEPARATOR) << 8
            )
            clauses.append((clause or b"").decode())
        marks = " ".join(clauses).translate(_STRESS_MARKS).replace(_SEPARATOR, " ")
        return tuple(marks.split())

    def _select(self, voice: Voice) -> None:
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise UsageError(
                f"espeak-ng has no voice {voice.name!r}. Its data folder lists them: lang/ and voices/!v/."
            )

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: object) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0
