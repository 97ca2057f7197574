"""What a server was asked and what it answered, kept in files: to be evaluated, tuned on and played again."""

from likewise.captures.files import Capture, CaptureWriter, capture_segments
from likewise.captures.record import Recorded

__all__ = ["Capture", "CaptureWriter", "Recorded", "capture_segments"]
