"""The HTTP surface: requests to typed calls, values and errors to answers.

Nothing is decided here that a service could decide. `create_app` is all that others use.
"""

from __future__ import annotations

from tokenmq.api.application import create_app

__all__ = ["create_app"]
