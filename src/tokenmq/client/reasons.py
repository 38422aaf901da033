"""Why a connection failed, in the operating system's own words."""

from __future__ import annotations


def reason_of(error: BaseException) -> str:
    """Return what the system said behind an error, without its number; else the error's own words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error)
