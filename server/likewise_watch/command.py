"""The verb `likewise watch`."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from rich.console import Console
from rich.logging import RichHandler

from likewise.errors import LikewiseError, SettingsError
from likewise_client import Client, InvalidInput, Retry
from likewise_demo.process import ServerProcess, functions_for
from likewise_watch import options
from likewise_watch.address import addresses
from likewise_watch.counts import Counts
from likewise_watch.encoding import encoding
from likewise_watch.ending import Ending
from likewise_watch.found import Sink
from likewise_watch.progress import Progress, summary
from likewise_watch.reader import Reading
from likewise_watch.sinks.lines import Lines
from likewise_watch.sinks.recording import Recording
from likewise_watch.sinks.webhook import Webhook
from likewise_watch.watch import Watch, described

log = logging.getLogger("likewise_watch.command")  # also where this is the main module

URL = "http://127.0.0.1:8080"


class Command:
    """Watches videos and cameras: frames in, results out."""

    help = "send the frames of videos and cameras to a function, and write what comes back"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        options.add_arguments(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Watch: 0 all sources ended, 1 something failed on the way, 2 asked for what cannot be, 130 on Ctrl-C."""
        console = Console(stderr=True)
        with _logging(console), Ending() as ending:
            try:
                code = self._run(args, console, ending)
            except KeyboardInterrupt:
                return 143 if ending.signals == [signal.SIGTERM] else 130
            except LikewiseError as error:
                if not ending.signals:
                    log.error("%s", error.detail)
                code = 2 if isinstance(error, SettingsError) else 1
        return 130 if signal.SIGINT in ending.signals else 0 if ending.signals else code

    def _run(self, args: argparse.Namespace, console: Console, ending: Ending) -> int:
        if args.serve and args.url:
            raise SettingsError("--serve starts a server, --url names one; leave one of them out.")
        sources = addresses(args.sources, args.name, args.format, dict(args.option))
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(_server(args)) if args.serve else None
            url = server.url if server is not None else args.url or URL
            client = stack.enter_context(_client(url, args.server_timeout))
            function = described(client, args.function, args.wait, ending.asked)
            encode = encoding(function, args.encoding, _nearby(url), args.quality, args.shape, args.unit)
            sinks = _sinks(args, tuple(each.name for each in sources))
            watch = Watch(sources, _reading(args), client, args.function, encode, sinks)
            stack.callback(self._tell, args, watch.counts, sinks)
            with Progress(console, watch.counts) as progress:

                def tick() -> None:
                    progress.show()
                    if ending.asked.is_set():
                        watch.stop()
                    if server is not None and server.ended:
                        watch.fail(LikewiseError("The server that was started for this has ended."))

                ending.patient = True
                watch.run(tick)
        failed = any(each.error or each.failed for each in watch.counts) or any(each.lost for each in sinks)
        return 1 if failed else 0

    def _tell(self, args: argparse.Namespace, counts: Sequence[Counts], sinks: Sequence[Sink]) -> None:
        for each in counts:
            if each.read:
                print(summary(each), file=sys.stderr)
        lost = {type(each).__name__.lower(): each.lost for each in sinks if each.lost}
        for name, number in lost.items():
            print(f"{name}: {number:,} results could not be delivered", file=sys.stderr)
        if args.json is not None:
            document = {"sources": [each.document() for each in counts], "undelivered": lost}
            try:
                args.json.write_text(json.dumps(document, indent=2) + "\n")
            except OSError as error:
                raise SettingsError(f"--json {args.json} cannot be written: {error.strerror}.") from error


def _server(args: argparse.Namespace) -> ServerProcess:
    return ServerProcess(args.functions or functions_for(args.function.partition("@")[0]), args.target)


def _client(url: str, timeout_s: float) -> Client:
    """Return a client that never tries again by itself: by then there may be a newer frame."""
    try:
        return Client(url, timeout_s=timeout_s, retry=Retry(rounds=1))
    except InvalidInput as error:
        raise SettingsError(f"--url: {error}.") from None


def _reading(args: argparse.Namespace) -> Reading:
    return Reading(
        rate=args.rate,
        realtime=args.realtime,
        once=args.once,
        most=args.frames,
        max_pixels=args.max_pixels,
        max_width=args.width,
        timeout_s=args.timeout,
        wait_s=args.wait,
        buffer=args.buffer,
    )


def _sinks(args: argparse.Namespace, streams: tuple[str, ...]) -> list[Sink]:
    """Return where results go. Raises SettingsError where one cannot be used; those before it are closed."""
    sinks: list[Sink] = []
    try:
        if args.webhook:
            sinks.append(Webhook(args.webhook, args.queue, args.queue_bytes, args.timeout))
        if args.mqtt:
            from likewise_watch.sinks.mqtt import Mqtt  # needs an extra of its own

            sinks.append(Mqtt(args.mqtt, args.queue, args.queue_bytes, max(1.0, args.wait)))
        if args.save:
            sinks.append(Recording(args.save, streams))
        sinks.append(Lines(args.output))
    except BaseException:
        for each in sinks:
            each.close()
        raise
    return sinks


def _nearby(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


@contextlib.contextmanager
def _logging(console: Console) -> Iterator[None]:
    """Write what the threads say to standard error, above the table of progress where there is one."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, markup=False, highlighter=None)
    handler.setFormatter(logging.Formatter("%(message)s" if console.is_terminal else "likewise: %(message)s"))
    logger = logging.getLogger("likewise_watch")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a program of its own: `python -m likewise_watch.command`."""
    parser = argparse.ArgumentParser(prog="likewise watch")
    command = Command()
    command.add_arguments(parser)
    return command.run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
