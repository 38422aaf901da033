"""Hostile input on live sockets: `make fuzz` and `make slow`; README.md says what is judged.

Not part of the package: it starts the service in a process of its own, and speaks to it
in bytes that it makes itself. Nothing here uses the codec that it tests.
"""
