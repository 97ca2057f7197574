"""The options of `likewise watch`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

DESCRIPTION = """\
Sends the frames of videos and cameras to a function, each source as a stream, and writes what comes back as JSON lines.

  likewise watch film.mp4 --function traffic
  likewise watch rtsp://camera/stream http://other/mjpeg --function traffic --rate 5 --mqtt mqtt://broker/traffic
  likewise watch /dev/video0 --function signs --serve --save seen.mp4

A recording gives every sampled frame, as fast as answers come. Of a camera the latest frame wins: those that come while
an answer is under way are dropped, and counted. Cameras and servers that go away are waited for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a file, a device such as /dev/video0, or a URL: rtsp, http, tcp …",
    )
    parser.add_argument("--function", required=True, metavar="NAME", help="what frames go to: name or name@version")
    _server(parser.add_argument_group("server"))
    _frames(parser.add_argument_group("frames"))
    _results(parser.add_argument_group("results"))
    _limits(parser.add_argument_group("limits"))


def _server(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--url", metavar="URL", help="the server [http://127.0.0.1:8080]; its key: LIKEWISE_ACCESS_KEY")
    group.add_argument("--serve", action="store_true", help="start a server for this, on a free port of this machine")
    group.add_argument(
        "--functions", type=Path, metavar="DIR", help="--serve: folder of functions [functions, or what came along]"
    )
    group.add_argument("--target", type=_number(0.5, 0.999), default=0.95, help="--serve: accuracy target [0.95]")


def _frames(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--rate", type=_number(0.001, 1000), metavar="FPS", help="frames sent per second [all]")
    group.add_argument("--realtime", action="store_true", help="play recordings at their own pace, as a camera would")
    group.add_argument("--frames", type=_whole(1), metavar="N", help="end each source after N frames sent [no end]")
    group.add_argument("--once", action="store_true", help="let a camera's end be the end, instead of waiting for it")
    group.add_argument("--name", action="append", default=[], help="name of a source's stream; once for each, in order")
    group.add_argument("--format", metavar="NAME", help="FFmpeg's format of the sources, such as v4l2, lavfi, mjpeg")
    group.add_argument(
        "--option", action="append", default=[], type=_option, metavar="KEY=VALUE", help="an option of FFmpeg's"
    )
    group.add_argument(
        "--encoding",
        choices=("auto", "jpeg", "raw"),
        default="auto",
        help="how pictures travel; auto: raw to this machine, as JPEG elsewhere",
    )
    group.add_argument("--quality", type=_whole(1, 100), default=90, help="of JPEG [90]")
    group.add_argument("--width", type=_whole(1), metavar="PIXELS", help="scale wider frames down [as they are]")
    group.add_argument("--shape", type=_shape, metavar="CxHxW", help="for functions of arrays, such as 3x240x320")
    group.add_argument("--unit", action="store_true", help="arrays of float32 from 0 to 1, instead of bytes")


def _results(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--output", type=Path, metavar="FILE", help="append JSON lines there [standard output]")
    group.add_argument("--mqtt", metavar="URL", help="publish them: mqtt://user:password@host:port/topic, or mqtts")
    group.add_argument("--webhook", metavar="URL", help="POST each there as JSON")
    group.add_argument("--save", type=Path, metavar="FILE.mp4", help="draw results into a video, one for each source")
    group.add_argument("--json", type=Path, metavar="FILE", help="write the counts there at the end")


def _limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-pixels", type=_whole(1, 1 << 30), default=25_000_000, metavar="N", help="of a frame [25,000,000]"
    )
    group.add_argument(
        "--buffer", type=_whole(1, 1000), default=4, metavar="N", help="frames of a recording decoded ahead [4]"
    )
    group.add_argument(
        "--queue", type=_whole(1), default=1000, metavar="N", help="results that wait for broker or web hook [1000]"
    )
    group.add_argument(
        "--queue-bytes", type=_whole(1), default=64 << 20, metavar="N", help="the same in bytes [67,108,864]"
    )
    group.add_argument("--timeout", type=_number(0.1, 3600), default=10.0, metavar="S", help="silence of a source [10]")
    group.add_argument(
        "--server-timeout",
        type=_number(0.1, 3600),
        default=60.0,
        metavar="S",
        help="for an answer; the first may take long, as the server gets the model ready for streams [60]",
    )
    group.add_argument(
        "--wait", type=_number(0, 86_400), default=10.0, metavar="S", help="for what is not there at the start [10]"
    )


def _number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"give a number from {least:g} to {most:g}")
        return value

    parse.__name__ = "number"
    return parse


def _whole(least: int, most: int = 1 << 40) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"give a whole number from {least} to {most}")
        return value

    parse.__name__ = "whole number"
    return parse


def _option(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise argparse.ArgumentTypeError("write it as KEY=VALUE, such as rtsp_transport=udp")
    return key, value


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(each) for each in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or not all(0 < each <= 1 << 16 for each in shape):
        raise argparse.ArgumentTypeError("write it as 3x240x320, 240x320x3 or 240x320")
    return shape
