"""`python -m tokenmq` is `tokenmq`."""

from __future__ import annotations

import sys

from tokenmq.cli import main

sys.exit(main())
