"""The wiring: the only place that names concrete stores, services, listeners and servers.

`initialise` and `serve` are what the command line calls; they own the event loop.
"""

from tokenmq.app.first_start import Bootstrap, initialise
from tokenmq.app.listening import Ready
from tokenmq.app.serving import serve

__all__ = ["Bootstrap", "Ready", "initialise", "serve"]
