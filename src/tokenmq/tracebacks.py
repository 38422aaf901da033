"""What the log says of a defect: which error, and where; never its words, which may quote a request."""

from __future__ import annotations

from pathlib import Path


def told(error: BaseException) -> dict[str, str]:
    """Tell an error for a line of the log: its type, and the places that it came through."""
    return {"error": type(error).__name__, "traceback": _places(error)}


def _places(error: BaseException) -> str:
    """Name the places of a traceback, innermost first."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{'/'.join(Path(code.co_filename).parts[-2:])}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(places))
