"""Environments of the peers that Debian does not bring: each in a folder of its own below `.bench/peers`.

What goes in stands in `bench/environments`, every version exact. An environment is made when it is first
asked for, and anew when its list has changed; nothing of it ever comes into `.venv`.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from bench.servers import NotMeasurable

ENVIRONMENTS = Path(__file__).parent / "environments"
ROOT = Path(__file__).parents[1] / ".bench" / "peers"
INSTALL_SECONDS = 300


def python_program(name: str, program: str) -> Path:
    """A program out of the Python environment `name` (`NAME.txt` lists its packages).

    Raises: NotMeasurable.
    """
    listed = ENVIRONMENTS / f"{name}.txt"
    folder = _folder(name, listed.read_bytes())
    found = folder / "bin" / program
    if not found.exists():
        _fresh(folder)
        _run(sys.executable, "-m", "venv", str(folder))
        pip = (str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check")
        _run(*pip, "install", "--no-input", "--requirement", str(listed))
    if not found.exists():
        raise NotMeasurable(f"{name} has no program {program}")
    return found


def node_script(name: str, script: str) -> tuple[str, Path]:
    """Node, and a script in the Node environment `name` (a folder with its `package.json`).

    Raises: NotMeasurable.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotMeasurable("node and npm are not installed (apt-get install nodejs npm)")
    source = ENVIRONMENTS / name
    files = sorted(source.iterdir())
    folder = _folder(name, b"".join(one.read_bytes() for one in files))
    done = folder / "installed"
    if not done.exists():
        _fresh(folder)
        folder.mkdir(parents=True)
        for one in files:
            shutil.copy(one, folder)
        _run(
            npm, "install", "--prefix", str(folder), "--no-package-lock", "--no-audit", "--no-fund",
            "--ignore-scripts", "--loglevel=error", in_folder=folder,
        )  # fmt: skip
        done.touch()
    return node, folder / script


def _folder(name: str, content: bytes) -> Path:
    return ROOT / f"{name}-{hashlib.sha256(content).hexdigest()[:8]}"


def _fresh(folder: Path) -> None:
    """Take away what an earlier attempt, or an earlier list of this name, has left."""
    for old in folder.parent.glob(folder.name.rpartition("-")[0] + "-*"):
        shutil.rmtree(old)


def _run(*command: str, in_folder: Path | None = None) -> None:
    print(f"Installing a peer: {' '.join(command[:6])} …", file=sys.stderr)
    try:
        done = subprocess.run(
            command, cwd=in_folder, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NotMeasurable(f"{Path(command[0]).name} took more than {INSTALL_SECONDS} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotMeasurable(f"could not be installed: {said[-1][:160] if said else 'no reason given'}")
