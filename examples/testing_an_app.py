"""How to test an app that uses likewise: a fake server instead of a real one, and nodes that fail on command.

python examples/testing_an_app.py
"""

from __future__ import annotations

from likewise_client import Client
from likewise_client.testing import FakeServer


def greet(client: Client, photo: bytes) -> str:
    """The app: greet by name whoever is on a photo."""
    answer = client.infer("faces", photo, media_type="image/png")
    return f"Hello, {answer.result['label']}!"


def test_greets_by_name_and_reuses() -> None:
    """The second photo is answered from reuse."""
    server = FakeServer()
    server.function("faces", lambda _photo: {"label": "Ada"})
    with Client(transport=server) as client:
        assert greet(client, b"photo") == "Hello, Ada!"
        assert greet(client, b"photo") == "Hello, Ada!"
    assert server.calls[-1].route == "infer"
    assert len(server.calls) == 2


def test_goes_on_when_a_node_is_down() -> None:
    """The other node takes over, without the app noticing."""
    server = FakeServer()
    server.function("faces", lambda _photo: {"label": "Ada"})
    with Client(["http://one:8080", "http://two:8080"], transport=server) as client:
        owner = client.infer("faces", b"photo", media_type="image/png").node
        server.stop(owner)
        assert greet(client, b"photo") == "Hello, Ada!"
        assert server.calls[-1].node != owner


if __name__ == "__main__":
    test_greets_by_name_and_reuses()
    test_goes_on_when_a_node_is_down()
    print("both tests passed")
