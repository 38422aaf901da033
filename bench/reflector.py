"""A stand-in for a broker that does as little as can be done: the ceiling of the load generator.

It answers CONNECT and SUBSCRIBE, then passes every chunk of a publisher on to its receivers as it came,
packet ids and all, and acknowledges QoS 1; at QoS 2, where two kinds of packet come mixed, it cuts a chunk
into runs. It checks nothing and allows everything. A row in which a broker comes near to the reflector
measures the generator, not the broker. The generator's tests use it, too.
"""

import argparse
import select
import socket
import sys
from dataclasses import dataclass

from bench import wire
from bench.links import write_all

# QoS 2: what a packet with this first byte is answered with, to a publisher and to a receiver.
_EXACT_ANSWERS = {0x34: 0x50, 0x62: 0x70, 0x50: 0x62}


@dataclass(slots=True)
class _Peer:
    sock: socket.socket
    version: int = 0
    pair: bytes = b""  # the first two levels of its topic; known once it publishes
    tail: bytes = b""
    exact: bool = False  # speaks QoS 2


class Reflector:
    """One epoll loop over a listener and its connections; `run` until `stop`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._listener = socket.create_server((host, port), backlog=2048)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        self._peers: dict[int, _Peer] = {}
        self._receivers: dict[bytes, list[_Peer]] = {}
        self._running = True

    def run(self) -> None:
        while self._running:
            for fd, _ in self._epoll.poll(0.1):
                if fd == self._listener.fileno():
                    self._accept()
                elif fd in self._peers:
                    self._read(self._peers[fd])
        for peer in self._peers.values():
            peer.sock.close()
        self._listener.close()
        self._epoll.close()

    def stop(self) -> None:
        self._running = False

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peers[sock.fileno()] = _Peer(sock)
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _read(self, peer: _Peer) -> None:
        try:
            chunk = peer.sock.recv(1 << 18)
        except ConnectionResetError:
            chunk = b""
        if not chunk or chunk[0] == 0xE0:
            self._drop(peer)
        elif peer.exact:
            self._exchange(peer, chunk)
        elif peer.pair:
            self._forward(peer, chunk)
        elif chunk[0] >> 4 == wire.PUBLISH:
            topic = chunk[4 if chunk[1] < 128 else 5 :]
            peer.pair = b"/".join(topic.split(b"/", 2)[:2])[: int.from_bytes(_topic_size(chunk), "big")]
            peer.exact = chunk[0] == 0x34
            (self._exchange if peer.exact else self._forward)(peer, chunk)
        elif chunk[0] == 0x50:
            peer.exact = True
            self._exchange(peer, chunk)
        elif chunk[0] != 0x40:
            self._greet(peer, chunk)

    def _greet(self, peer: _Peer, chunk: bytes) -> None:
        for first, start, end in wire.frames(chunk, 0, len(chunk)):
            if first == 0x10:
                peer.version = chunk[start + 6]
                peer.sock.send(b"\x20\x03\0\0\0" if peer.version == 5 else b"\x20\x02\0\0")
            elif first == 0x82:
                asked = wire.filters(chunk, start, end, peer.version)
                for topic_filter, _ in asked:
                    self._receivers.setdefault(topic_filter.removesuffix(b"/#"), []).append(peer)
                body = chunk[start : start + 2] + (b"\0" if peer.version == 5 else b"")
                peer.sock.send(wire.packet(0x90, body + bytes(qos for _, qos in asked)))

    def deliver(self, pair: bytes, data: bytes) -> None:
        """Pass packets of a publisher on to its receivers."""
        for receiver in self._receivers.get(pair, ()):
            write_all(receiver.sock, data)

    def _exchange(self, peer: _Peer, chunk: bytes) -> None:
        """QoS 2: pass messages on; PUBREC to a message, PUBREL to a PUBREC, PUBCOMP to a PUBREL."""
        data = peer.tail + chunk
        answer = bytearray()
        end = 0
        for run in wire.runs(data, 0, len(data)):
            at = run.start + run.head
            if run.first == 0x34:
                at += 2 + int.from_bytes(data[at : at + 2], "big")
                self.deliver(peer.pair, data[run.start : run.stop])
            if run.first in _EXACT_ANSWERS:
                answer += wire.acknowledgements(_EXACT_ANSWERS[run.first], wire.packet_ids(data, at, run))
            end = run.stop
        peer.tail = data[end:]
        if answer:
            write_all(peer.sock, answer)

    def _forward(self, peer: _Peer, chunk: bytes) -> None:
        self.deliver(peer.pair, chunk)
        if chunk[0] & 2 or peer.tail:
            self._acknowledge(peer, peer.tail + chunk)

    def _acknowledge(self, peer: _Peer, data: bytes) -> None:
        """PUBACK every whole packet: by stride as many as begin like the first, the others one by one."""
        answer = bytearray()
        end = 0
        frame = wire.read_frame(data, 0, len(data))
        if frame is not None:
            size = frame[2]
            amount = len(data) // size
            head = data[: frame[1]]
            if all(data[at::size][:amount] == bytes((byte,)) * amount for at, byte in enumerate(head)):
                at = frame[1] + 2 + int.from_bytes(data[frame[1] : frame[1] + 2], "big")
                end = amount * size
                answer = bytearray(b"\x40\x02\0\0" * amount)
                answer[2::4], answer[3::4] = data[at:end:size], data[at + 1 : end : size]
            for _, start, stop in wire.frames(data, end, len(data)):
                at = start + 2 + int.from_bytes(data[start : start + 2], "big")
                answer += b"\x40\x02" + data[at : at + 2]
                end = stop
        peer.tail = data[end:]
        if answer:
            write_all(peer.sock, answer)

    def _drop(self, peer: _Peer) -> None:
        del self._peers[peer.sock.fileno()]
        peer.sock.close()
        for receivers in self._receivers.values():
            if peer in receivers:
                receivers.remove(peer)


def _topic_size(chunk: bytes) -> bytes:
    """The two bytes that give the length of the first packet's topic."""
    return chunk[2:4] if chunk[1] < 128 else chunk[3:5]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.reflector", description="The generator's ceiling.")
    parser.add_argument("--port", type=int, default=0)
    reflector = Reflector(port=parser.parse_args().port)
    print(reflector.port, flush=True)
    reflector.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
