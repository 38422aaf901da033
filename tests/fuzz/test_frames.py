"""Borders: of packets in a stream, of WebSocket frames, and of what the service sends."""

from __future__ import annotations

from random import Random

import pytest
from fuzz.frames import Reader, Walk, complete, framed, masked, upgrade, walk
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"", Walk((), 0, 0, False)),
        (b"\x10\x00\xc0\x00\xc0\x00", Walk((0, 2, 4), 2, 0, False)),
        (b"\xc0\x01\x00", Walk((0,), 0, 0, False)),
        (b"\x10\x05ab", Walk((0,), 0, 3, False)),
        (b"\x10", Walk((0,), 0, 1, False)),
        (b"\x10\x80", Walk((0,), 0, 1, False)),
        (b"\x10\xff\xff\xff\xff", Walk((0,), 0, 1, True)),
        (b"\x10\xff\xff\xff\x7f", Walk((0,), 0, 0, True)),
        (b"\x10\xc8\x01", Walk((0,), 0, 0, True)),
        (b"\x10\x00\x30\xc8\x01", Walk((0, 2), 0, 200, False)),
    ],
)
def test_walk(stream: bytes, found: Walk) -> None:
    assert walk(stream, max_first=100, max_packet=1_000) == found


@pytest.mark.parametrize("stream", [b"\x10\x05ab", b"\x10", b"\x10\x80", b"\xc0\x00\x30\xc8\x01"])
def test_completed_stream_is_whole_or_refused(stream: bytes) -> None:
    for seed in range(20):
        whole, found = complete(Random(seed), stream, max_first=1_000, max_packet=1_000)
        assert whole.startswith(stream)
        assert found.fatal or not found.missing


@pytest.mark.parametrize("size", [0, 1, 125, 126, 300, 65_535, 65_536])
def test_frames_are_what_a_server_reads(size: int) -> None:
    server = ServerProtocol(subprotocols=[Subprotocol("mqtt")], max_size=None)
    server.receive_data(upgrade(Random(1), "127.0.0.1"))
    (request,) = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]
    payload = Random(size).randbytes(size)
    server.receive_data(masked(Random(2), payload) + framed(Random(3), payload))
    data = [
        frame.data for frame in server.events_received() if isinstance(frame, Frame) and frame.opcode in _DATA
    ]
    assert server.parser_exc is None
    assert b"".join(map(bytes, data)) == payload * 2


_DATA = (Opcode.BINARY, Opcode.CONT)
ANSWERS = b"\x20\x02\x00\x00\xd0\x00\x32\x05\x00\x01a\x00\x07\x34\x05\x00\x01a\x00\x08\xd0\x00"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_reader_counts_what_a_server_sends_in_any_pieces(size: int) -> None:
    reader = Reader(websocket=False)
    for at in range(0, len(ANSWERS), size):
        reader.take(ANSWERS[at : at + size])
    assert (reader.packets, reader.pings, reader.broken) == (5, 2, False)
    assert reader.unacknowledged == [b"\x40\x02\x00\x07", b"\x50\x02\x00\x08"]


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_reader_finds_packets_in_frames_behind_the_answer_to_an_upgrade(size: int) -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    web = head + bytes((0x82, len(ANSWERS))) + ANSWERS + b"\x89\x00" + b"\x82\x02\xd0\x00"
    reader = Reader(websocket=True)
    for at in range(0, len(web), size):
        reader.take(web[at : at + size])
    assert (reader.packets, reader.pings, reader.upgraded) == (6, 3, True)


@pytest.mark.parametrize(
    "sent", [b"\x00\x00", b"\x10\x00", b"\x80\x00", b"\xc0\x00", b"\xd0\xff\xff\xff\xff"]
)
def test_what_no_server_sends_is_noticed(sent: bytes) -> None:
    reader = Reader(websocket=False)
    reader.take(sent)
    assert reader.broken
