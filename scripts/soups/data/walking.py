"""Find the images in folders as people have them, and count the files that are passed over.

File managers, archives and servers leave files and folders between the images. None of them is an
image of the data set: many are thumbnails of images beside them.
"""

import errno
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soups.errors import UserError

# Endings of image formats that Pillow reads without other programs.
ENDINGS = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp",
        ".avif", ".avifs", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx",
        ".jpf", ".tga", ".pcx", ".qoi", ".ico",
    }
)  # fmt: skip
# First bytes of images, by which files without ending are recognised.
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
# Names, in lower case, of folders and files that no person made. Names with a leading dot, such as
# ._x.jpg, .thumbnails and .ipynb_checkpoints, are passed over as well.
ODD_FOLDERS = frozenset(
    {
        "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharesnap", "@__thumb", "#recycle",
        "#snapshot", "__macosx", "$recycle.bin", "recycler", "system volume information",
        "lost+found", "__pycache__",
    }
)  # fmt: skip
ODD_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
ODD = ODD_FOLDERS | ODD_FILES
# Names, in lower case, of folders within a class that hold small copies of its images.
COPIES = frozenset({"thumbs", "thumb", "thumbnail", "thumbnails", "_thumbs", "_thumbnails"})
PHONE = (".heic", ".heif")


@dataclass
class Aside:
    """Files and folders that are no images of a set.

    Attributes:
        left_behind: name of a folder or file that a machine made, to how often it occurs.
        endings: ending in lower case ("" without one) to the number of files that are no images.
    """

    left_behind: Counter = field(default_factory=Counter)
    endings: Counter = field(default_factory=Counter)

    def as_text(self) -> str:
        """Return numbers and endings, such as "12 .heic, 3 without ending"."""
        named = sorted(self.endings.items(), key=lambda pair: (-pair[1], pair[0]))
        return ", ".join(f"{count:,} {ending or 'without ending'}" for ending, count in named)


def is_odd(name: str) -> bool:
    """Return whether a machine made a folder or file of this name."""
    return name[0] == "." or name.lower() in ODD


def is_folder(entry: os.DirEntry) -> bool:
    """Return whether an entry is a folder or a link to one.

    Raises:
        UserError: if the entry is a link to itself.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(
                f"{entry.path}: the link leads to itself, expected a link to a folder or an image"
            ) from None
        raise UserError(f"{entry.path}: cannot be read ({error.strerror})") from error


def scan(folder: str | Path) -> Iterator[os.DirEntry]:
    """Yield the entries of a folder.

    Raises:
        UserError: if the folder cannot be read.
    """
    try:
        found = os.scandir(folder)
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    with found:
        yield from found


def walk(folder: str | Path, name: str, aside: Aside | None = None) -> Iterator[str]:
    """Yield the paths of one class's images relative to ``folder``, including its subfolders.

    The paths come in no particular order, while the folder is still being read. A caller that
    needs only a few paths therefore does not wait for the rest.

    Args:
        folder: the folder of a set.
        name: name of the class folder, or "" for the folder itself.
        aside: where files that are passed over are counted.

    Raises:
        UserError: if a folder cannot be read, or if a link leads to a folder in which it lies.
    """
    for path, _ in entries(folder, name, aside):
        yield path


def entries(
    folder: str | Path, name: str, aside: Aside | None = None
) -> Iterator[tuple[str, os.DirEntry]]:
    """Yield the images of `walk` with their directory entries."""
    aside = Aside() if aside is None else aside
    yield from _below(Path(folder), name, aside, ())


def _below(root: Path, name: str, aside: Aside, above: tuple[Path, ...]):
    here = root / name
    prefix = f"{name}/" if name else ""
    deeper = []
    for entry in scan(here):
        own = entry.name
        if is_odd(own):
            aside.left_behind["._*" if own.startswith("._") else own] += 1
        elif is_folder(entry):
            if own.lower() in COPIES:
                aside.left_behind[own] += 1
                continue
            if entry.is_symlink():
                _check_loop(Path(entry.path), (*above, here))
            deeper.append(prefix + own)
        elif is_image(entry):
            yield prefix + own, entry
        else:
            aside.endings[_ending(own)] += 1
    for path in deeper:
        yield from _below(root, path, aside, (*above, here))


def _check_loop(link: Path, above: tuple[Path, ...]) -> None:
    """Refuse a link to one of the folders above it. Only a link can close a loop."""
    target = link.resolve()
    for each in above:
        real = each.resolve()
        if target == real or target in real.parents:
            raise UserError(
                f"{link}: the link leads to {target}, in which it lies itself, "
                "expected no such loop"
            )


def _ending(name: str) -> str:
    dot = name.rfind(".")  # several times as fast as os.path.splitext
    return name[dot:].lower() if dot > 0 else ""


def is_image(entry: os.DirEntry) -> bool:
    """Return whether a file is an image, by its ending, or by its first bytes if it has none."""
    ending = _ending(entry.name)
    if ending:
        return ending in ENDINGS
    try:
        if not entry.is_file():  # opening a named pipe would wait for ever
            return False
        with open(entry.path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(BEGINNINGS) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def no_image(folder: str | Path) -> str:
    """Return the sentence about a class folder without a readable image, with what it holds."""
    aside = Aside()
    if count := sum(1 for _ in walk(folder, "", aside)):  # check_set could read none of them
        return (
            f"{folder}: none of its {count:,} images can be read, expected at least one per class"
        )
    if not aside.endings:
        odd = ", ".join(sorted(aside.left_behind))
        more = f" (passed over: {odd})" if odd else ""
        return f"{folder}: the folder has no image{more}, expected at least one per class"
    phone = " Convert HEIC photographs to JPEG." if aside.endings.keys() & set(PHONE) else ""
    return (
        f"{folder}: none of its {sum(aside.endings.values()):,} files is an image that can be read "
        f"({aside.as_text()}), expected at least one such as .jpg, .png or .webp per class.{phone}"
    )


# Of a larger set, the images beyond this number are compared by their names alone. Asking for the
# state of a file takes microseconds on a local disk, but a millisecond on a slow network drive.
LARGE = 200_000


def state(folder: str | Path, names: list[str]) -> str:
    """Return a hash of what decides whether the images of a set have changed.

    Files that are no images, and the modification times of folders, do not count.

    Args:
        folder: the folder of the set.
        names: its class folders, or [""] for a flat folder.

    Returns:
        hash of the sorted paths of all images, each with size in bytes and modification time in
        seconds. Class folders after the first `LARGE` images count with their names alone.
    """
    digest, count = hashlib.sha256(), 0
    for name in sorted(names):
        found = list(entries(folder, name))
        count += len(found)
        if count > LARGE:
            lines = [path for path, _ in found]
        else:
            lines = [f"{path}\0{_stamp(entry)}" for path, entry in found]
        digest.update("\n".join(sorted(lines)).encode(errors="surrogateescape") + b"\n\n")
    return digest.hexdigest()


def _stamp(entry: os.DirEntry) -> str:
    try:
        now = entry.stat()
    except OSError:  # a broken link
        return "broken"
    # Archives and some drives keep whole seconds alone.
    return f"{now.st_size} {int(now.st_mtime)}"
