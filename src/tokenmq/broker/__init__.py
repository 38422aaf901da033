"""The broker's core: synchronous, without I/O, with the time passed in."""
