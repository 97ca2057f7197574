"""A camera over RTSP: GStreamer's server with a test picture that moves, in H.264 or else JPEG.

Runs with a Python that has GStreamer's bindings (Debian: gir1.2-gst-rtsp-server-1.0, python3-gi and
gstreamer1.0-plugins-base, -good and -ugly), which need not be the project's: `python3 rtsp_server.py PORT`.
`--check` says whether there is all that it needs.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PICTURE = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! "
PAYLOADS = (
    ("x264enc rtph264pay", "x264enc tune=zerolatency key-int-max=25 ! rtph264pay name=pay0 config-interval=1"),
    ("jpegenc rtpjpegpay", "jpegenc ! rtpjpegpay name=pay0"),
)


def pipeline() -> str:
    """Return a pipeline of elements that are here."""
    for elements, text in PAYLOADS:
        if all(Gst.ElementFactory.find(each) for each in ("videotestsrc", *elements.split())):
            return f"( {PICTURE}{text} )"
    raise SystemExit("GStreamer has neither x264enc nor jpegenc here, or no videotestsrc")


def main() -> None:
    """Serve rtsp://127.0.0.1:PORT/camera until killed."""
    Gst.init(None)
    made = pipeline()
    if sys.argv[1] == "--check":
        return
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(made)
    factory.set_shared(True)
    server.get_mount_points().add_factory("/camera", factory)
    if not server.attach(None):
        raise SystemExit(f"port {sys.argv[1]} cannot be had")
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
