"""How long a file is: stated and all there, left open by a writer into a pipe, an estimate, or cut."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_suite import utterance

from skill_bench.base.errors import AudioError
from skill_bench.corpora.audio.container import extent_of
from skill_bench.corpora.audio.decode import decode, length
from skill_bench.corpora.audio.extent import Extent
from skill_bench.corpora.audio.scan import scan

N = 32_000
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(N) / 16_000) + 0.02 * np.random.default_rng(0).standard_normal(N)
# Containers of libsndfile, with a subtype each; MP3 counts its frames in a first frame.
CONTAINERS = [
    ("WAV", "PCM_16"), ("WAV", "GSM610"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
    ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("NIST", "PCM_16"), ("SVX", "PCM_16"),
    ("VOC", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip


def made(folder: Path, form: str, subtype: str) -> Path:
    path = folder / f"{form}.{subtype}"
    soundfile.write(path, TONE, 16_000, format=form, subtype=subtype)
    return path


def patched(path: Path, at: int, content: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(bytes(data))
    return path


def size_field(path: Path) -> int:
    return path.read_bytes().index(b"data") + 4


@pytest.mark.parametrize(("form", "subtype"), CONTAINERS)
def test_a_whole_file_states_its_length(form: str, subtype: str, tmp_path: Path) -> None:
    path = made(tmp_path, form, subtype)
    found = length(path, source="m:1")
    assert found.known == "stated"
    assert found.frames == len(decode(path, source="m:1").samples)
    assert N <= found.frames < N + 320  # GSM fills its last block
    assert scan([utterance(path)]).notes() == ()
    assert scan([utterance(path)], whole=True).lengths[path] == found


@pytest.mark.parametrize("percent", [25, 50, 75, 90, 99])
@pytest.mark.parametrize(("form", "subtype"), CONTAINERS)
def test_a_cut_file_is_refused_by_every_reader(form: str, subtype: str, percent: int, tmp_path: Path) -> None:
    path = made(tmp_path, form, subtype)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * percent // 100])
    for whole in (False, True):
        with pytest.raises(AudioError, match="truncated or damaged"):
            scan([utterance(path)], whole=whole)
    with pytest.raises(AudioError, match="truncated or damaged"):
        decode(path, source="m:1")


@pytest.mark.parametrize("stated", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, (1 << 32) - 36, (1 << 32) - 1])
def test_a_wav_left_open_by_a_pipe_is_read_to_its_end(stated: int, tmp_path: Path) -> None:
    path = made(tmp_path, "WAV", "PCM_16")
    expected = decode(path, source="m:1").samples
    patched(path, size_field(path), struct.pack("<I", stated))
    np.testing.assert_array_equal(decode(path, source="m:1").samples, expected)
    np.testing.assert_array_equal(decode(path, source="m:1", start_frame=999, n_frames=70).samples, expected[999:1069])
    summary = scan([utterance(path)])
    assert (summary.lengths[path].frames, summary.lengths[path].known) == (N, "decoded")
    assert summary.notes() == (
        "1 of 1 files does not state its length, so that a missing end would not show; decoded as far as it "
        "goes (the first: WAV.PCM_16)",
    )


@pytest.mark.parametrize(
    ("form", "mark", "offset", "content"),
    [
        ("AIFF", b"SSND", 4, b"\x7f\0\0\x08"), ("AIFF", b"SSND", 4, bytes(4)), ("AU", b".snd", 8, b"\xff" * 4),
        ("CAF", b"data", 4, b"\xff" * 8), ("W64", b"data\xf3", 16, b"\xff" * 7 + b"\x7f"),
        ("RF64", b"ds64", 16, bytes(8)), ("RF64", b"ds64", 16, b"\xff" * 8),
    ],
)  # fmt: skip
def test_other_containers_left_open_are_read_to_their_end(
    form: str, mark: bytes, offset: int, content: bytes, tmp_path: Path
) -> None:
    path = made(tmp_path, form, "PCM_16")
    expected = decode(path, source="m:1").samples
    patched(path, path.read_bytes().index(mark) + offset, content)
    np.testing.assert_array_equal(decode(path, source="m:1").samples, expected)
    assert length(path, source="m:1").known == "decoded"


def test_an_empty_wav_is_empty_and_not_left_open(tmp_path: Path) -> None:
    path = tmp_path / "none.wav"
    soundfile.write(path, np.zeros(0), 16_000)
    path.write_bytes(path.read_bytes() + b"LIST\x04\0\0\0INFO")
    with pytest.raises(AudioError, match="holds no samples"):
        scan([utterance(path)])


def test_flac_without_a_total_is_read_to_its_end(tmp_path: Path) -> None:
    path = made(tmp_path, "FLAC", "PCM_16")
    expected = decode(path, source="m:1").samples
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(bytes(content))
    np.testing.assert_array_equal(decode(path, source="m:1").samples, expected)
    np.testing.assert_array_equal(decode(path, source="m:1", start_frame=999, n_frames=70).samples, expected[999:1069])
    assert length(path, source="m:1").frames == N


def test_a_flac_that_states_billions_of_samples_is_named_and_nothing_is_allocated(tmp_path: Path) -> None:
    path = made(tmp_path, "FLAC", "PCM_16")
    content = bytearray(path.read_bytes())
    content[21] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(AudioError, match="truncated or damaged"):
        scan([utterance(path)])
    with pytest.raises(AudioError, match=f"truncated or damaged: {N} of {(1 << 32) + N} frames can be decoded"):
        decode(path, source="m:1")


def test_a_header_that_counts_too_little_is_noted(tmp_path: Path) -> None:
    path = made(tmp_path, "WAV", "PCM_16")
    patched(path, size_field(path), struct.pack("<I", 16_000))
    assert len(decode(path, source="m:1").samples) == 8000
    assert scan([utterance(path)]).notes() == (
        "1 of 1 files holds more than its header counts, which is not read (the first: WAV.PCM_16, 48000 bytes)",
    )
    whole = made(tmp_path, "WAV", "PCM_24")
    whole.write_bytes(whole.read_bytes() + b"LIST\x04\0\0\0INFO")
    assert scan([utterance(whole)]).notes() == ()


def with_total(path: Path, n_samples: int) -> Path:
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | n_samples >> 32
    content[22:26] = struct.pack(">I", n_samples & 0xFFFF_FFFF)
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("total", [400, 4095, 4096, 4097, 8000, N - 1])
def test_a_flac_that_states_too_few_samples_is_noted(total: int, channels: int, subtype: str, tmp_path: Path) -> None:
    """The bytes are those of the frames, of 4096 samples each, that hold what is not read."""
    path = tmp_path / "short.flac"
    soundfile.write(path, np.stack([TONE] * channels, axis=1), 16_000, subtype=subtype)
    content = path.read_bytes()
    n_read = total // 4096
    starts = [at for at in range(len(content)) if content[at : at + 2] == b"\xff\xf8" and content[at + 4] == n_read]
    with_total(path, total)
    assert len(decode(path, source="m:1").samples) == total
    *_, note = scan([utterance(path)]).notes()
    assert "1 of 1 files holds more than its header counts, which is not read (the first: short.flac, " in note
    assert any(f"{len(content) - at} bytes)" in note for at in starts)
    assert length(path, source="m:1").known == "stated"


@pytest.mark.parametrize("n", [400, 4095, 4096, 4097, 12_288, N])
@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 44_100, 11_127])
def test_a_flac_that_states_what_it_holds_is_not(n: int, rate_hz: int, tmp_path: Path) -> None:
    path = tmp_path / "right.flac"
    soundfile.write(path, TONE[:n], rate_hz)
    assert extent_of(path) == Extent(stated=True)


def test_tags_around_a_flac_are_no_samples(tmp_path: Path) -> None:
    path = made(tmp_path, "FLAC", "PCM_16")
    whole = path.read_bytes()
    path.write_bytes(whole + b"TAG" + bytes(125))
    assert extent_of(path).unread_bytes == 0
    short = with_total(made(tmp_path, "FLAC", "PCM_16"), 8000).read_bytes()
    path.write_bytes(b"ID3\4\0\0\0\0\0\4abcd" + short)
    assert extent_of(path).unread_bytes > 0, "in front they move the header"


def test_real_flacs_state_what_they_hold(corpora: Path) -> None:
    files = sorted((corpora / "librispeech").rglob("*.flac"))
    assert len(files) > 100
    assert [path for path in files if extent_of(path) != Extent(stated=True)] == []


def without_count(path: Path) -> Path:
    """An MP3 without its first frame, which counts the others."""
    content = path.read_bytes()
    second = content.index(content[:2], 4)
    path.write_bytes(content[second:])
    return path


def test_an_mp3_that_does_not_count_its_frames_is_read_whole(tmp_path: Path) -> None:
    """libsndfile estimates its length from the first frame, and stops there: loud frames come after quiet ones."""
    quiet_first = np.concatenate([np.zeros(N), TONE + np.random.default_rng(1).uniform(-0.5, 0.5, N)])
    path = tmp_path / "vbr.mp3"
    soundfile.write(path, quiet_first, 16_000, format="MP3", bitrate_mode="VARIABLE", compression_level=0.2)
    without_count(path)
    found = decode(path, source="m:1").samples
    assert soundfile.info(path).frames != len(found), "the estimate has to be wrong here"
    assert 2 * N <= len(found) < 2 * N + 3 * 1152
    assert np.abs(found[-N // 2 :]).max() > 0.3
    assert scan([utterance(path)]).lengths[path].frames == len(found)


def test_ogg_streams_in_a_row_are_refused(tmp_path: Path) -> None:
    path = made(tmp_path, "OGG", "VORBIS")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(AudioError, match="several streams one after another, of which only the first would be read"):
        scan([utterance(path)])


@pytest.mark.parametrize("rate_hz", [1, 999, 16_001, 1_000_000])
def test_a_rate_that_nothing_records_at_is_named(rate_hz: int, tmp_path: Path) -> None:
    path = made(tmp_path, "WAV", "PCM_16")
    patched(path, 24, struct.pack("<I", rate_hz))
    with pytest.raises(AudioError, match=f"the header states a rate of {rate_hz} Hz; expected 1000 to 768000 Hz"):
        scan([utterance(path)])


def test_floats_whose_mean_overflows_are_refused(tmp_path: Path) -> None:
    from skill_bench.corpora.audio.audio import load_audio

    path = tmp_path / "loud.wav"
    soundfile.write(path, np.full((16_000, 2), 3e38), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="16000 samples are NaN or infinite"):
        load_audio(path, source="m:1")


@pytest.mark.parametrize("n_blocks", [74, 75, 76, 1001])
@pytest.mark.parametrize("counted", ["as it is", "with its padding", "left open"])
def test_gsm_in_a_wav_ends_with_its_last_block(n_blocks: int, counted: str, tmp_path: Path) -> None:
    """libsndfile decodes the byte behind an odd number of blocks as one more, of 320 loud samples."""
    tone = 0.3 * np.sin(np.arange(n_blocks * 320) / 9)
    path, other = tmp_path / "gsm.wav", tmp_path / "gsm.w64"
    soundfile.write(path, tone, 8000, format="WAV", subtype="GSM610")
    soundfile.write(other, tone, 8000, format="W64", subtype="GSM610")
    stated = {"as it is": 65 * n_blocks, "with its padding": 65 * n_blocks + n_blocks % 2, "left open": 0xFFFFFFFF}
    patched(path, size_field(path), struct.pack("<I", stated[counted]))
    expected = decode(other, source="m:1").samples
    assert len(expected) == 320 * n_blocks
    np.testing.assert_array_equal(decode(path, source="m:1").samples, expected)
    assert scan([utterance(path)], whole=True).lengths[path].frames == 320 * n_blocks


def test_samples_in_several_blocks_of_a_voc_are_refused(tmp_path: Path) -> None:
    """As ffmpeg writes them; libsndfile takes the heads of the others for samples."""
    path = made(tmp_path, "VOC", "PCM_16")
    content = path.read_bytes()
    first, rest = content[: 26 + 16 + 4096], content[26 + 16 + 4096 : -1]
    size = (12 + 4096).to_bytes(3, "little")
    path.write_bytes(first[:27] + size + first[30:] + b"\x02" + len(rest).to_bytes(3, "little") + rest + b"\0")
    assert soundfile.info(path).frames != N, "it has to be wrong here"
    with pytest.raises(AudioError, match=r"holds several streams one after another.*\(ffmpeg -i IN OUT\)"):
        decode(path, source="m:1")
