"""Downloads of large files that resume after a lost connection or a killed job.

A download starts over if the file on the server has changed.
"""

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
from soups.models.checksums import check, locked, read_sums

log = logging.getLogger("soups")

CHUNK = 2**18  # bytes in one read at most
EVERY = 5.0  # seconds between two lines of progress in the log
PAUSE = 60.0  # seconds, the longest wait before another attempt
# HTTP errors after which another attempt may succeed.
PASSING = {408, 425, 429, 500, 502, 503, 504}


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
    """Download a file and check it. The file appears at ``path`` only when it is complete.

    The partial file is ``<name>.part`` beside ``path``. The server's version and size of the file
    are in ``<name>.part.json``. A later call resumes the download if the server still has the same
    version.

    Args:
        url: an http or https address.
        path: the file to write.
        sums: a checksum file, see `checksums.check`; None checks the size alone.
        name: name of the file in ``sums``; by default the last part of ``path``.
        attempts: number of failures in a row, all without a new byte, after which the download
            gives up.
        backoff: seconds of pause before the second attempt; each further pause is twice as long.
        timeout: seconds without a byte that count as a failure.

    Raises:
        UserError: if the server refuses or cannot be reached, if the size or the checksum of the
            file is wrong, or if another process is downloading the file.
    """
    path = Path(path)
    if not url.lower().startswith(("http://", "https://")):
        raise UserError(f"{url!r} is not a download address, expected http:// or https://")
    name = name or path.name
    known = bool(sums) and name in read_sums(sums)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with locked(part, wait=False) as file:
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
            # The next attempt must not resume from a wrong file.
            download.forget()
            part.unlink()
            raise
        # `files.replacing` would delete the partial file of a killed job.
        os.replace(part, path)
        download.forget()
    log.info("%s: sha256 %s", path, digest)


def _persist(download: "_Download", attempts: int, backoff: float) -> None:
    """Attempt a download until it is complete.

    Raises:
        UserError: after ``attempts`` failures in a row without a new byte.
    """
    most, failures = download.size(), 0
    while not download.complete():
        try:
            download.attempt()
        except _Lost as lost:
            failures = 0 if download.size() > most else failures + 1
            most = max(most, download.size())
            if failures >= attempts:
                raise UserError(
                    f"{download.url}: {failures} attempts in a row failed ({lost}), another run "
                    f"resumes from the {download.size():,} bytes that are kept"
                ) from lost
            pause = min(PAUSE, backoff * 2 ** max(0, failures - 1))
            log.info("%s: %s, next attempt in %.0f s", download.url, lost, pause)
            time.sleep(pause)


class _Download:
    """One partial file, with the version and the size that the server gave for it.

    Args:
        url: the address.
        file: the partial file, opened for appending.
        path: path of the partial file; the JSON file of its version and size is beside it.
        timeout: seconds without a byte that count as a failure.
        known: whether the file's checksum is known, so that a truncated file will be noticed.
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
        """Size of the partial file in bytes."""
        return self._file.tell()

    def complete(self) -> bool:
        """Whether the partial file has the size that the server gave."""
        return self.size() == self._total

    def forget(self) -> None:
        """Delete the JSON file of the version and the size."""
        self._memo.unlink(missing_ok=True)

    def attempt(self) -> None:
        """Request the missing bytes, or the whole file, and write the answer.

        Raises:
            _Lost: if the connection failed.
            UserError: if another attempt cannot help.
        """
        # Without a version, nobody can tell whether the server still has the same file.
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
        """The server's answer, or None if its file ends before the requested range."""
        try:
            with _network():
                answer = urllib.request.urlopen(request, timeout=self._timeout)
        except http.client.InvalidURL as error:
            raise UserError(f"{self.url!r} is not a download address ({error})") from error
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and request.has_header("Range"):
                return None
            if error.code in PASSING:
                raise _Lost(f"{error.code} {error.reason}") from error
            raise UserError(
                f"{self.url}: the server answers {error.code} {error.reason}, expected a file"
            ) from error
        # A log-in page, for example, comes with status 200. Its checksum must not be recorded.
        if answer.headers.get_content_type() == "text/html":
            answer.close()
            raise UserError(f"{self.url}: the server answers with a web page, expected a file")
        return answer

    def _continues(self, answer: http.client.HTTPResponse, have: int) -> bool:
        """Whether an answer continues the partial file.

        Raises:
            _Lost: if the answer is a part of another file, or another part.
        """
        if answer.status != 206:
            return False
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        # An answer to If-Range need not repeat the version.
        same = _validator(answer.headers) in (self._validator, None)
        if found and int(found[1]) == have and int(found[2]) == self._total and same:
            return True
        # This part cannot be used, so the next attempt requests the whole file.
        self._begin({})
        raise _Lost("the server sent a part of another file")

    def _begin(self, headers) -> None:
        """Empty the partial file and note the version and the size that the headers give."""
        self._file.truncate(0)
        self._file.seek(0)
        length = headers.get("Content-Length")
        self._validator = _validator(headers)
        self._total = int(length) if length else None
        said = {"url": self.url, "validator": self._validator, "total": self._total}
        files.write_json(self._memo, said)

    def _receive(self, answer: http.client.HTTPResponse) -> None:
        """Append an answer to the partial file.

        Raises:
            _Lost: if the connection fails, or if the size is not the one that the server gave.
            UserError: if nothing could tell whether the file is complete.
        """
        if self._total is None and not answer.chunked and not self._known:
            raise UserError(
                f"{self.url}: the server gives no Content-Length and the checksum is unknown, "
                "expected one of them to tell whether the file is complete"
            )
        with DownloadProgress(self._name, self.size(), self._total) as progress:
            while True:
                with _network():
                    chunk = answer.read1(CHUNK)
                if not chunk:
                    break
                self._file.write(chunk)
                progress.add(len(chunk))
        if self._total is None:
            # A chunked answer without an error is complete. Otherwise the checksum tells.
            self._total = self.size()
        if self.size() < self._total:
            raise _Lost(f"connection lost after {self.size():,} of {self._total:,} bytes")
        if self.size() > self._total:
            self._begin({})
            raise _Lost("the server sent more bytes than it announced")


def _validator(headers) -> str | None:
    """The server's name for a version of a file, or None.

    A weak ETag is not used, because files with the same weak ETag may differ in their bytes.
    """
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


@contextmanager
def _network() -> Iterator[None]:
    """Turn connection errors into `_Lost`, but keep the errors of HTTP and of the address."""
    try:
        yield
    except (urllib.error.HTTPError, http.client.InvalidURL):
        raise
    except (http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise _Lost(str(reason) or type(error).__name__) from error


class DownloadProgress:
    """Progress of a download: lines in the log, and a bar on a terminal.

    Args:
        name: name of the file.
        done: bytes from earlier attempts.
        total: bytes of the whole file, or None if the size is unknown.
        clock: seconds since any fixed moment.
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

    def __enter__(self) -> "DownloadProgress":
        # disable=None shows the bar on a terminal only.
        self._bar = tqdm(
            desc=self._name, initial=self._done, total=self._total, disable=None, leave=False,
            unit="B", unit_scale=True,
        )  # fmt: skip
        return self

    def __exit__(self, *error) -> None:
        self._bar.close()
        log.info(self.line())

    def add(self, count: int) -> None:
        """Count more bytes, and log a line every `EVERY` seconds."""
        self._done += count
        self._bar.update(count)
        if self._clock() - self._said >= EVERY:
            self._said = self._clock()
            log.info(self.line())

    def line(self) -> str:
        """One line with the share, the size, the speed of this attempt and the time left."""
        speed = (self._done - self._first) / max(self._clock() - self._start, 1e-9)
        if self._total is None:
            return f"{self._name}: {self._done / 1e6:.1f} MB, {speed / 1e6:.1f} MB/s"
        share = 100 * self._done / self._total if self._total else 100
        left = self._total - self._done
        minutes, seconds = divmod(round(left / speed), 60) if speed else (0, 0)
        eta = f"{minutes}:{seconds:02d} left" if speed else "unknown time left"
        return (
            f"{self._name}: {share:.0f}% of {self._total / 1e6:.1f} MB, "
            f"{speed / 1e6:.1f} MB/s, {eta}"
        )
