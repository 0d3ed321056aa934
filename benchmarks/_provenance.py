"""Which commit the committed figures measure, and what has changed since."""

import subprocess
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
PACKAGE = "sklearn_similar"
# Rooms of the package that each file of results measures.
_CLASSIFIER = ("_classifier.py", "_images", "_network", "_ablation")
_HEATMAPS = (*_CLASSIFIER, "_heatmaps")
_LOCALIZER = (*_HEATMAPS, "_localizer.py", "_scenes", "_search", "_learning")
MEASURED_ROOMS = {
    "ablation": _CLASSIFIER,
    "accuracy": ("_classifier.py", "_images", "_network"),
    "baselines-images": _CLASSIFIER,
    "baselines-importances": _CLASSIFIER,
    "baselines-memory": _HEATMAPS,
    "baselines-photographs": (*_HEATMAPS, "metrics"),
    "baselines-quality": (*_HEATMAPS, "metrics"),
    "baselines-times": _HEATMAPS,
    "cost": _LOCALIZER,
    "gpu": _LOCALIZER,
    "large": _LOCALIZER,
    "localization": _LOCALIZER,
    "localization-default": _LOCALIZER,
    "localization-examples": _LOCALIZER,
    "photographs": (*_LOCALIZER, "_tables", "metrics"),
    "photographs-stages": _LOCALIZER,
    "scaling": _CLASSIFIER,
    "speed": _LOCALIZER,
    "training": ("_classifier.py", "_images", "_network"),
    "workers": _LOCALIZER,
    "workers-killed": _LOCALIZER,
    "workers-units": _LOCALIZER,
}


def git(*arguments: str, root: Path = ROOT) -> str:
    """Output of a git command in a repository."""
    result = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def current_commit(root: Path = ROOT) -> str:
    """Short hash of the commit that is checked out; empty without git.

    Ends in "-dirty" if the package or the benchmarks differ from that commit.
    """
    try:
        commit = git("rev-parse", "--short", "HEAD", root=root)
        code = (PACKAGE, "benchmarks", ":(exclude)benchmarks/results")
        is_dirty = bool(git("status", "--porcelain", "--", *code, root=root))
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit}-dirty" if is_dirty else commit


def read_results(path: Path) -> pd.DataFrame:
    """A table of results; hashes stay strings, as some look like numbers."""
    return pd.read_csv(path, dtype={"commit": str})


def outdated_figures(path: Path, root: Path = ROOT) -> list[str]:
    """One sentence for each commit of a table whose measured rooms have changed since.

    Parameters
    ----------
    path : Path
        A CSV of results; its name without the suffix is a key of `MEASURED_ROOMS`.
    root : Path
        The repository.
    """
    rooms = MEASURED_ROOMS[path.stem]
    sentences = []
    for commit in read_results(path)["commit"].dropna().unique():
        known = commit.removesuffix("-dirty")
        try:
            changed = [room for room in rooms if _has_changed(room, known, root)]
            n_commits = git("rev-list", "--count", f"{known}..HEAD", root=root)
        except subprocess.CalledProcessError:
            sentences.append(f"{path.name}: commit {commit} is not in this repository")
            continue
        if changed:
            sentences.append(
                f"{path.name} was measured at {commit}, {n_commits} commits ago; "
                f"changed since: {', '.join(changed)}"
            )
    return sentences


def _has_changed(room: str, commit: str, root: Path) -> bool:
    return bool(git("diff", "--stat", commit, "--", f"{PACKAGE}/{room}", root=root))
