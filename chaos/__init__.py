"""`make chaos`: kill the server at random instants under load, and hold a ledger against what it said.

`python -m chaos --help` lists the options, README.md says what is judged.
"""
