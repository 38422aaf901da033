"""MQTT 3.1.1 and 5.0 as a pure protocol: bytes, packets, and what may come when.

`codec` turns bytes into `packets` and back, `connection` holds the protocol state of
one network connection on the server's side. No sockets, no clock, no tokens. The only
exception that leaves is `errors.ProtocolError`.
"""
