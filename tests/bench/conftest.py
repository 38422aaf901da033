"""A reflector in a thread, for tests of the load generator without a broker.

`bench` stands beside `src` and is not installed: the repository's root is put on the path for it.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bench.reflector import Reflector

sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture
def serve() -> Iterator[Callable[["Reflector"], int]]:
    """Run a reflector in a thread until the test is over; its port."""
    running: list[tuple[Reflector, threading.Thread]] = []

    def start(reflector: "Reflector") -> int:
        thread = threading.Thread(target=reflector.run)
        thread.start()
        running.append((reflector, thread))
        return reflector.port

    yield start
    for reflector, thread in running:
        reflector.stop()
        thread.join()


@pytest.fixture
def reflector_port(serve: Callable[["Reflector"], int]) -> int:
    from bench.reflector import Reflector

    return serve(Reflector())
