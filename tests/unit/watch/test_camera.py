"""What is decoded, and what of files that are damaged on purpose."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from cameras import HEIGHT, WIDTH, quadrant, write_sound, write_video

from likewise.errors import LikewiseError, SettingsError
from likewise_watch.address import addresses
from likewise_watch.camera import Camera, pixels
from likewise_watch.errors import SourceLost

FORMATS = [("mp4", "libx264"), ("avi", "mjpeg"), ("mkv", "mpeg4"), ("ts", "libx264"), ("mov", "mjpeg"), ("flv", "flv")]


def camera(source: Path | str, max_pixels: int = 1_000_000, **options: str) -> Camera:
    return Camera(addresses([str(source)], options=options)[0], 60, max_pixels)


@pytest.mark.parametrize(("suffix", "codec"), FORMATS)
def test_frames_come_in_order_with_their_colors(tmp_path: Path, suffix: str, codec: str) -> None:
    """Red first, whatever the container and the coding."""
    with camera(write_video(tmp_path / f"film.{suffix}", [0, 1, 2, 3] * 3, codec=codec)) as source:
        frames = list(source.frames())
        assert not source.live
        assert source.rate == pytest.approx(10, rel=0.02)
    assert len(frames) == 12
    for at, frame in enumerate(frames):
        seen = pixels(frame)
        assert (seen.shape, seen.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        assert np.abs(seen.astype(int) - quadrant(at % 4, at)).mean() < 20


def test_red_is_red(tmp_path: Path) -> None:
    """And blue is blue."""
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        red[..., 0] = 230
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
    with camera(tmp_path / "film.mkv") as source:
        (frame,) = source.frames()
    assert pixels(frame)[..., 0].mean() > 200 > 40 > pixels(frame)[..., 2].mean()


@pytest.mark.parametrize(
    ("width", "shape"), [(None, (48, 64, 3)), (32, (24, 32, 3)), (640, (48, 64, 3)), (1, (1, 1, 3))]
)
def test_wide_frames_are_scaled_down_where_wanted(tmp_path: Path, width: int | None, shape: tuple[int, ...]) -> None:
    """Never up, and with their proportions."""
    with camera(write_video(tmp_path / "film.mp4", [0])) as source:
        (frame,) = source.frames()
    assert pixels(frame, width).shape == shape


@pytest.mark.parametrize(("suffix", "codec"), FORMATS)
def test_frames_over_the_limit_are_refused(tmp_path: Path, suffix: str, codec: str) -> None:
    """With the option that would let them in; at the limit all is well."""
    film = write_video(tmp_path / f"film.{suffix}", [0, 1], codec=codec)
    with camera(film, WIDTH * HEIGHT) as source:
        assert len(list(source.frames())) == 2
    with pytest.raises(SettingsError, match="--max-pixels"), camera(film, WIDTH * HEIGHT - 1) as source:
        list(source.frames())


def test_sound_alone_is_no_source(tmp_path: Path) -> None:
    """The file is named."""
    with pytest.raises(SettingsError, match=r"sound\.wav has no video stream"):
        camera(write_sound(tmp_path / "sound.wav"))


def test_a_playlist_may_not_lead_elsewhere(tmp_path: Path) -> None:
    """A file that names a page, or a page that names a file here, opens neither unless that is allowed."""
    film = write_video(tmp_path / "film.ts", [0, 1], format="mpegts")
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film.as_uri()}\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(text)
    with camera(tmp_path / "list.m3u8") as source:
        assert len(list(source.frames())) == 2
    with pytest.raises(LikewiseError):
        camera(tmp_path / "list.m3u8", protocol_whitelist="http,tcp")
    (tmp_path / "list.m3u8").write_text(text.replace(film.as_uri(), "http://127.0.0.1:9/film.ts"))
    with pytest.raises(LikewiseError) as refused:
        camera(tmp_path / "list.m3u8")
    assert "refused" not in refused.value.detail, "it connected"


@pytest.mark.parametrize(("suffix", "codec"), FORMATS)
def test_a_damaged_file_gives_frames_or_an_error_of_ours(tmp_path: Path, suffix: str, codec: str) -> None:
    """Bytes changed, cut out or cut off: nothing else is raised, and every frame has the size that was allowed."""
    rng, whole = random.Random(7), write_video(tmp_path / f"film.{suffix}", [0, 1, 2, 3] * 4, codec=codec).read_bytes()
    damaged = tmp_path / f"damaged.{suffix}"
    ends = set()
    for _ in range(40):
        data = bytearray(whole)
        if rng.random() < 0.3:
            del data[rng.randrange(1, len(data)) :]
        for _ in range(rng.choice((0, 1, 3, 20, 200))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            start = rng.randrange(len(data))
            del data[start : start + rng.randrange(2000)]
        damaged.write_bytes(data)
        try:
            with camera(damaged, WIDTH * HEIGHT * 4) as source:
                for frame in source.frames():
                    assert pixels(frame).size <= WIDTH * HEIGHT * 4 * 3
            ends.add("end")
        except (SettingsError, SourceLost) as error:
            ends.add(error.detail.startswith((str(damaged), "a frame in the format")))
    assert "end" in ends
    assert False not in ends, "an error that does not name the file"


def test_a_pipe_that_nobody_writes_to_is_not_waited_for_without_end(tmp_path: Path) -> None:
    """It may have a writer later."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceLost, match="nothing was written to this pipe"):
        Camera(addresses([str(tmp_path / "pipe")])[0], 0.05, 1_000_000)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_a_pipe_whose_writer_falls_silent_is_lost(tmp_path: Path, share: float) -> None:
    """Before it can be opened, or in the middle."""
    film = write_video(tmp_path / "film.mkv", [0, 1, 2, 3] * 5, codec="mjpeg").read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)  # waits for no reader
    try:
        os.write(writer, film[: int(len(film) * share)])
        with (
            pytest.raises(SourceLost, match="nothing was written to this pipe"),
            Camera(addresses([str(pipe)])[0], 0.3, 1_000_000) as source,
        ):
            list(source.frames())
    finally:
        os.close(writer)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_pipe_is_read_as_its_writer_writes(tmp_path: Path, scheme: str) -> None:
    """Also one that begins after it is waited for, and is through before anything is decoded."""
    film = write_video(tmp_path / "film.mkv", [0, 1, 2, 3], codec="mpeg4").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(film))
    writer.start()
    with camera(f"{scheme}{tmp_path / 'pipe'}") as source:
        assert len(list(source.frames())) == 4
        assert not source.live
    writer.join()
