from __future__ import annotations

import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
from videos import crossing, write_video


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A data folder with 2 speakers × 3 digits × 4 recordings, short tones in the public layout."""
    folder = tmp_path / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for speaker in ("ada", "max_b"):
        for digit in range(3):
            for number in range(4):
                tone = 8000 * np.sin(np.arange(1200) * (0.1 + 0.1 * digit)) + rng.normal(0, 200, 1200)
                with wave.open(str(folder / f"{digit}_{speaker}_{number}.wav"), "wb") as writer:
                    writer.setnchannels(1)
                    writer.setsampwidth(2)
                    writer.setframerate(8000)
                    writer.writeframes(tone.astype("<i2").tobytes())
    return tmp_path


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A data folder with 3 classes × 6 tracks × 5 frames of other sizes, in the public layout."""
    rng = np.random.default_rng(0)
    for class_id in (0, 14, 42):
        folder = tmp_path / "gtsrb" / "Final_Training" / "Images" / f"{class_id:05d}"
        folder.mkdir(parents=True)
        (folder / f"GT-{class_id:05d}.csv").write_text("Filename;Width;Height\n")
        for track in range(6):
            sign = cv2.resize(rng.integers(60, 200, (4, 4, 3), dtype=np.uint8), (40, 36))
            for frame in range(5):
                picture = cv2.resize(sign, (20 + 4 * frame, 18 + 4 * frame))
                assert cv2.imwrite(str(folder / f"{track:05d}_{frame:05d}.ppm"), picture)
    return tmp_path


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    """A data folder with one short video where the workload of cameras looks for it."""
    write_video(tmp_path / "video" / "cars" / "car-detection.mp4", crossing(6))
    return tmp_path
