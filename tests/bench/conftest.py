"""A reflector in a thread, for tests of the load generator without a broker.

`bench` stands beside `src` and is not installed: the repository's root is put on the path for it.
"""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture
def reflector_port() -> Iterator[int]:
    from bench.reflector import Reflector

    reflector = Reflector()
    thread = threading.Thread(target=reflector.run)
    thread.start()
    yield reflector.port
    reflector.stop()
    thread.join()
