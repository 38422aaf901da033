"""Load generator and benchmark runner. Never imported by tokenmq, not shipped in the wheel.

`python -m bench` runs the rows against tokenmq and a peer; `python -m bench.load` is the generator by itself.
The generator shares no code with the broker, so that one mistake cannot hide in both.
"""
