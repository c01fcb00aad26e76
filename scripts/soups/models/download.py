"""Downloads of large files that survive a cut line, a killed job and a server that changes them."""

import fcntl
import http.client
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from soups import files
from soups.errors import UserError

log = logging.getLogger("soups")

CHUNK = 2**18  # bytes between two looks at the clock
EVERY = 5.0  # seconds between two lines of progress in the log
PAUSE = 60.0  # seconds, the longest wait before another attempt
# Of an HTTP error: the server may think better of it. Other answers stay what they are.
PASSING = {408, 425, 429, 500, 502, 503, 504}

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


class _Lost(Exception):
    """The connection failed; another attempt may succeed."""


def fetch(
    url: str,
    path: str | Path,
    sums: str | Path | None = None,
    name: str | None = None,
    attempts: int = 6,
    backoff: float = 1.0,
    timeout: float = 60.0,
) -> None:
    """Download a file, all or nothing, and check it.

    What has arrived lies beside ``path`` as ``<name>.part``, with what the server said of it in
    ``<name>.part.json``, so that a later call goes on where this one ended, if the server still
    has the same file.

    Args:
        url: http or https.
        path: the file to write.
        sums: checksums, see `check`; None checks the size alone.
        name: what ``sums`` calls the file; by default the last part of ``path``.
        attempts: failures in a row, none of which brought anything new, before giving up.
        backoff: seconds before the second attempt; twice as many before each one after.
        timeout: seconds without a byte that count as a failure.

    Raises:
        UserError: if the server refuses or cannot be reached, if the file has another size or
            checksum than it should, or if it is being downloaded already.
    """
    path = Path(path)
    if not url.lower().startswith(("http://", "https://")):
        raise UserError(f"{url!r}: not a download address, expected http:// or https://")
    name = name or path.name
    known = bool(sums) and name in read_sums(sums)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with _locked(part, wait=False) as file:
        download = _Download(url, file, part, timeout, known)
        try:
            _persist(download, attempts, backoff)
        except UserError:
            if not file.tell():
                download.forget()
                part.unlink()
            raise
        file.flush()
        os.fsync(file.fileno())
        digest = files.sha256(part)
        try:
            check(name, digest, sums, record=True)
        except UserError:
            # What is wrong would otherwise be gone on with.
            download.forget()
            part.unlink()
            raise
        # Not by `files.replacing`, which would throw away what a killed job has got.
        os.replace(part, path)
        download.forget()
    log.info("%s: sha256 %s", path, digest)


def _persist(download: "_Download", attempts: int, backoff: float) -> None:
    """Attempt until everything has arrived, or nothing new has come ``attempts`` times."""
    most, failures = download.size(), 0
    while not download.complete():
        try:
            download.go_on()
        except _Lost as lost:
            failures = 0 if download.size() > most else failures + 1
            most = max(most, download.size())
            if failures >= attempts:
                raise UserError(
                    f"{download.url}: gave up, {failures} attempts in a row failed ({lost}); "
                    f"{download.size():,} bytes are kept, and another run goes on from there"
                ) from lost
            pause = min(PAUSE, backoff * 2 ** max(0, failures - 1))
            log.info("%s: %s, another attempt in %.0f s", download.url, lost, pause)
            time.sleep(pause)


class _Download:
    """One file on its way: what has arrived, and what the server said of it.

    Args:
        url: where from.
        file: opened for appending.
        path: its name; the JSON of the server's words lies beside it.
        timeout: seconds.
        known: whether a checksum will tell a whole file from half of one.
    """

    def __init__(self, url: str, file: BinaryIO, path: Path, timeout: float, known: bool) -> None:
        self.url, self._file, self._name = url, file, path.stem
        self._memo = path.with_name(path.name + ".json")
        self._timeout, self._known = timeout, known
        said = files.read_json(self._memo) if self._memo.exists() else {}
        if said.get("url") != url:
            said = {}
        self._validator: str | None = said.get("validator")
        self._total: int | None = said.get("total")

    def size(self) -> int:
        """Bytes that have arrived."""
        return self._file.tell()

    def complete(self) -> bool:
        """Has everything arrived, as far as the server said how much there is?"""
        return self.size() == self._total

    def forget(self) -> None:
        self._memo.unlink(missing_ok=True)

    def go_on(self) -> None:
        """One attempt: ask for what is missing, or for all of it, and write what comes."""
        # Only a file that provably is the same may be gone on with.
        if self._validator is None:
            self._begin({})
        have = self.size()
        request = urllib.request.Request(self.url)
        if have:
            request.add_header("Range", f"bytes={have}-")
            request.add_header("If-Range", self._validator)
        answer = self._open(request)
        if answer is None:
            self._begin({})
            return
        with answer:
            if not self._continues(answer, have):
                self._begin(answer.headers)
            self._receive(answer)

    def _open(self, request: urllib.request.Request) -> http.client.HTTPResponse | None:
        """The server's answer; None if it has nothing from where the request begins."""
        try:
            with _network():
                answer = urllib.request.urlopen(request, timeout=self._timeout)
        except http.client.InvalidURL as error:
            raise UserError(f"{self.url!r}: not a download address ({error})") from error
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and request.has_header("Range"):
                return None
            if error.code in PASSING:
                raise _Lost(f"{error.code} {error.reason}") from error
            raise UserError(
                f"{self.url}: the server answers {error.code} {error.reason}, expected a file"
            ) from error
        # A log-in page, say, comes as a success; its checksum must not become the file's.
        if answer.headers.get_content_type() == "text/html":
            answer.close()
            raise UserError(f"{self.url}: the server answers with a web page, expected a file")
        return answer

    def _continues(self, answer: http.client.HTTPResponse, have: int) -> bool:
        """Is this the rest of the very file whose beginning lies here?"""
        if answer.status != 206:
            return False
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        # A server that was asked with If-Range need not repeat what it was asked with.
        same = _validator(answer.headers) in (self._validator, None)
        if found and int(found[1]) == have and int(found[2]) == self._total and same:
            return True
        # A part of something else: of no use, and the whole has to be asked for.
        self._begin({})
        raise _Lost("the server went on with another file")

    def _begin(self, headers) -> None:
        """Drop what has arrived and note what the server says of what comes now."""
        self._file.truncate(0)
        self._file.seek(0)
        length = headers.get("Content-Length")
        self._validator = _validator(headers)
        self._total = int(length) if length else None
        said = {"url": self.url, "validator": self._validator, "total": self._total}
        files.write_json(self._memo, said)

    def _receive(self, answer: http.client.HTTPResponse) -> None:
        if self._total is None and not answer.chunked and not self._known:
            raise UserError(
                f"{self.url}: the server gives no Content-Length and there is no checksum, "
                "expected one of them, to tell a whole file from half of one"
            )
        with Transfer(self._name, self.size(), self._total) as progress:
            while True:
                with _network():
                    chunk = answer.read1(CHUNK)
                if not chunk:
                    break
                self._file.write(chunk)
                progress.add(len(chunk))
        if self._total is None:
            self._total = self.size()  # chunked, and it has ended as chunks do
        if self.size() < self._total:
            raise _Lost(f"cut after {self.size():,} of {self._total:,} bytes")
        if self.size() > self._total:
            self._begin({})
            raise _Lost("more bytes than the server said")


def _validator(headers) -> str | None:
    """What the server knows a version of a file by; a weak ETag does not vouch for bytes."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


@contextmanager
def _network() -> Iterator[None]:
    """What a connection fails with, as `_Lost`; what no other attempt would change passes."""
    try:
        yield
    except (urllib.error.HTTPError, http.client.InvalidURL):
        raise
    except (http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise _Lost(str(reason) or type(error).__name__) from error


@contextmanager
def _locked(path: Path, wait: bool) -> Iterator[BinaryIO]:
    """Open a file for appending, made if need be, that no other process has opened so.

    Raises:
        UserError: if another process has, and ``wait`` is false.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise UserError(
                    f"{path}: being written by another process, expected one download at a time"
                ) from None
            # Whoever had the lock may have put another file in this one's place.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield file
                return


def read_sums(path: str | Path) -> dict[str, str]:
    """Checksums by name, from a file as ``sha256sum`` writes it; empty if there is none.

    Raises:
        UserError: for a line of another format, and a name with two checksums.
    """
    path = Path(path)
    out: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line)
        if not found:
            raise UserError(
                f"{path}, line {number}: {line!r}, expected 64 hexadecimal digits, two spaces and "
                "a file's name"
            )
        digest = found[1].lower()
        if out.setdefault(found[2], digest) != digest:
            raise UserError(f"{path}, line {number}: a second checksum of {found[2]!r}")
    return out


def check(name: str, digest: str, sums: str | Path | None, record: bool = False) -> None:
    """Compare a file's sha256 with what it is known to be.

    Args:
        name: what ``sums`` calls the file.
        digest: its sha256, in hexadecimal digits.
        sums: a checksum file as ``sha256sum`` writes it, or None for no check.
        record: whether a file that ``sums`` does not know is added to it: trust on first use.
            Jobs may do so at the same time.

    Raises:
        UserError: if they differ.
    """
    if not sums:
        return
    known = read_sums(sums)
    if name not in known and record:
        with _locked(Path(sums), wait=True):
            known = read_sums(sums)  # another job may have been faster
            if name not in known:
                text = Path(sums).read_text(encoding="utf-8")
                text += "\n" if text and not text.endswith("\n") else ""
                files.write_text(sums, f"{text}{digest}  {name}\n")
                return
    if known.get(name, digest) != digest:
        raise UserError(
            f"{name} has sha256 {digest}, expected {known[name]} as {sums} has it; the file is "
            "another one than before, or broken"
        )


class Transfer:
    """How far a download is: a line in the log now and then, a bar if there is a terminal.

    Args:
        name: what is downloaded.
        done: bytes that were there before.
        total: bytes there will be, or None.
        clock: seconds, only differences of which matter.
    """

    def __init__(
        self,
        name: str,
        done: int,
        total: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._done, self._total, self._clock = name, done, total, clock
        self._first, self._start = done, clock()
        self._said = self._start

    def __enter__(self) -> "Transfer":
        # disable=None: no bar where nobody would see one.
        self._bar = tqdm(
            desc=self._name, initial=self._done, total=self._total, disable=None, leave=False,
            unit="B", unit_scale=True,
        )  # fmt: skip
        return self

    def __exit__(self, *error) -> None:
        self._bar.close()
        log.info(self.line())

    def add(self, count: int) -> None:
        """``count`` bytes more."""
        self._done += count
        self._bar.update(count)
        if self._clock() - self._said >= EVERY:
            self._said = self._clock()
            log.info(self.line())

    def line(self) -> str:
        """One line: share, megabytes, speed of this attempt, time left."""
        speed = (self._done - self._first) / max(self._clock() - self._start, 1e-9)
        if self._total is None:
            return f"{self._name}: {self._done / 1e6:.1f} MB, {speed / 1e6:.1f} MB/s"
        share = 100 * self._done / self._total if self._total else 100
        left = self._total - self._done
        minutes, seconds = divmod(round(left / speed), 60) if speed else (0, 0)
        eta = f"{minutes}:{seconds:02d} left" if speed else "no end in sight"
        return (
            f"{self._name}: {share:.0f}% of {self._total / 1e6:.1f} MB, "
            f"{speed / 1e6:.1f} MB/s, {eta}"
        )
