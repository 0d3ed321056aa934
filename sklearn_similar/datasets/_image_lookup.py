"""Images by the names that annotation files give them."""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from .._images.files import SUFFIXES

# Folders of images next to the folder of the annotations.
_SIBLINGS = ("images", "JPEGImages")
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")


def image_files(folder: Path) -> list[Path]:
    """The images in a folder and its subfolders; hidden ones are left out."""
    return [file for file in visible_files(folder) if file.suffix.lower() in SUFFIXES]


def visible_files(folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders in order, without hidden ones."""
    for file in sorted(folder.rglob("*")):
        if not any(part.startswith(".") for part in file.relative_to(folder).parts):
            yield file


class ImageLookup:
    """Finds the images that annotation files name.

    A name may have folders of another machine, backslashes, quotes of a URL, or what
    Label Studio adds to the names of uploaded files.

    Parameters
    ----------
    images : Path or None
        Folder of the images; None: next to the annotations.
    folder : Path
        Folder of the annotations.
    """

    def __init__(self, images: Path | None, folder: Path):
        self._images = images
        self._folder = folder
        self._indices: dict[Path, dict[str, list[Path]]] = {}

    def find(self, name: str, file: Path, *, use_stem: bool) -> Path | None:
        """The image that a file calls `name`; None if there is none.

        Parameters
        ----------
        name : str
        file : Path
            The annotation file.
        use_stem : bool
            Whether the image may be called like the annotation file instead.

        Raises
        ------
        ValueError
            If there are several such images.
        """
        variants = list(dict.fromkeys(_variants(name)))
        if self._images is None:
            for variant in variants:
                # Names may be too long for a file.
                with suppress(OSError):
                    if (file.parent / variant).is_file():
                        return file.parent / variant
        for folder in self._folders(file):
            index = self._index(folder)
            for variant in variants:
                if match := _choose(
                    index.get(name_key(variant.name), []), variant, file
                ):
                    return match
        if use_stem:
            for folder in self._folders(file):
                same = [p for p in self._all(folder) if p.stem == file.stem]
                if match := _choose(same, PurePosixPath(file.stem), file):
                    return match
        return None

    def _folders(self, file: Path) -> list[Path]:
        if self._images is not None:
            return [self._images]
        siblings = [file.parent.parent / name for name in _SIBLINGS]
        return [self._folder, *(folder for folder in siblings if folder.is_dir())]

    def _index(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._indices:
            index = defaultdict(list)
            for path in image_files(folder):
                index[name_key(path.name)].append(path)
            self._indices[folder] = dict(index)
        return self._indices[folder]

    def _all(self, folder: Path) -> Iterator[Path]:
        for paths in self._index(folder).values():
            yield from paths


def _variants(name: str) -> Iterator[PurePosixPath]:
    """The name, and what it may be a quotation of, the most literal first."""
    yield PurePosixPath(name)
    path = name.replace("\\", "/")
    yield PurePosixPath(path)
    # Label Studio's addresses of local files, and other addresses.
    path = path.split("?d=", 1)[1] if "?d=" in path else path.split("?", 1)[0]
    yield PurePosixPath(path)
    plain = PurePosixPath(unquote(path))
    yield plain
    if stripped := _UPLOAD_PREFIX.sub("", plain.name):
        yield plain.with_name(stripped)


def uploaded_names(name: str) -> set[str]:
    """Keys of the names that a file may have had before an upload changed its name."""
    return {name_key(name), name_key(_UPLOAD_PREFIX.sub("", name))}


def name_key(name: str) -> str:
    """Equal for names that differ in case, or in what uploads remove from names."""
    return re.sub(r"[^-\w.]", "", name.replace(" ", "_")).casefold()


def _choose(candidates: list[Path], name: PurePosixPath, file: Path) -> Path | None:
    """The candidate whose last folders are those of the name."""
    if not candidates:
        return None
    common = [_n_common_parts(path, name) for path in candidates]
    best = [
        path for path, n in zip(candidates, common, strict=True) if n == max(common)
    ]
    if len(best) > 1:
        raise ValueError(
            f"{str(file)!r} names the image {str(name)!r}, and both {str(best[0])!r} "
            f"and {str(best[1])!r} may be meant; pass images, the folder of the right "
            "one."
        )
    return best[0]


def _n_common_parts(path: Path, name: PurePosixPath) -> int:
    n = 0
    for a, b in zip(reversed(path.parts), reversed(name.parts), strict=False):
        if a != b:
            break
        n += 1
    return n
