"""`fuzz` stands beside `src` and is not installed: the repository's root is put on the path for it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
