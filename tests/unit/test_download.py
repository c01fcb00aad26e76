"""Downloads from a real server that loses connections, changes its file and ignores Range."""

import fcntl
import hashlib
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import download_checkpoint
import numpy as np
import pytest

from soups.errors import UserError
from soups.models import checksums, download

DATA = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(3_000_000)
HALF = 1_400_000
SCRIPTS = Path(download.__file__).parents[2]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Server:
    """A server with the same file under every path. Tests set how it answers.

    Attributes:
        data: the file.
        tag, modified: values of the headers ETag and Last-Modified, None for no header.
        ranges: whether the server honours Range; "always" ignores If-Range.
        plan: the next answers. ("cut", n) closes the connection after n bytes, ("code", status) is
            an error. Later answers are whole.
        length: whether the answer has a Content-Length.
        chunked: whether the answer comes in chunks.
        type: Content-Type of the answer.
        moved: whether every address redirects to another one.
        stall: an event that answers wait for in the middle of the file, None for no wait.
        asked: Range header of every request for the file.
    """

    def __init__(self):
        self.data, self.tag, self.modified, self.ranges = DATA, '"one"', None, True
        self.plan, self.asked = [], []
        self.length, self.chunked, self.type, self.moved = True, False, None, False
        self.url = self.stall = None

    def answer(self, handler):
        if self.moved and not handler.path.startswith("/moved"):
            handler.send_response(302)
            handler.send_header("Location", f"/moved{handler.path}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        kind, value = self.plan.pop(0) if self.plan else ("cut", None)
        if kind == "code":
            handler.send_error(value)
            return
        first = 0
        same = handler.headers["If-Range"] == (self.tag or self.modified)
        if asked and (self.ranges == "always" or (self.ranges and same)):
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        if first >= len(self.data):
            handler.send_error(416)
            return
        handler.send_response(206 if first else 200)
        if first:
            last, whole = len(self.data) - 1, len(self.data)
            handler.send_header("Content-Range", f"bytes {first}-{last}/{whole}")
        for name, version in {"ETag": self.tag, "Last-Modified": self.modified}.items():
            if version:
                handler.send_header(name, version)
        if self.type:
            handler.send_header("Content-Type", self.type)
        if self.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        elif self.length:
            handler.send_header("Content-Length", str(len(self.data) - first))
        handler.end_headers()
        body = self.data[first:][:value]
        if self.stall:
            handler.wfile.write(body[:HALF])
            self.stall.wait()
            return
        self._send(handler.wfile, body, whole=value is None)

    def _send(self, out, body, whole):
        if self.chunked:
            for start in range(0, len(body), 100_000):
                piece = body[start : start + 100_000]
                out.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            out.write(b"0\r\n\r\n" if whole else b"")
        else:
            out.write(body)


@pytest.fixture
def server():
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.close_connection = True
            with suppress(ConnectionError):  # of a client that was killed
                state.answer(self)

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/model_0.pt"
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "model_0.pt"


def fetch(server, target, sums=None, attempts=3, **options):
    download.fetch(server.url, target, sums, attempts=attempts, backoff=0, **options)


def part_of(target):
    return target.with_name(target.name + ".part")


@pytest.fixture
def half(server, target):
    """A function that leaves half of the file beside the target and returns the target."""

    def interrupted():
        # The first attempt brings new bytes, the second does not.
        server.plan = [("cut", HALF), ("code", 503)]
        with pytest.raises(UserError, match=r"model_0\.pt: 1 attempts in a row failed \(503 "):
            fetch(server, target, attempts=1)
        assert part_of(target).stat().st_size == HALF
        assert not target.exists()
        server.asked.clear()
        return target

    return interrupted


def only(target):
    """Whether the folder of a file has no other file."""
    return [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_whole_file(server, target):
    fetch(server, target)
    assert target.read_bytes() == DATA
    assert only(target)
    assert server.asked == [None]


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(("tag", "modified"), [('"one"', None), (None, "Sat, 01 Jan 2022")])
def test_a_download_resumes_after_a_lost_connection(server, target, tag, modified, moved):
    server.tag, server.modified, server.moved = tag, modified, moved
    server.plan = [("cut", HALF), ("cut", 100_000)]
    fetch(server, target)
    assert target.read_bytes() == DATA
    assert server.asked == [None, f"bytes={HALF}-", f"bytes={HALF + 100_000}-"]


def test_a_later_call_resumes_the_download(server, half):
    target = half()
    fetch(server, target)
    assert target.read_bytes() == DATA
    assert server.asked == [f"bytes={HALF}-"]
    assert only(target)


def test_the_download_of_a_killed_job_is_resumed(server, target):
    server.stall = threading.Event()
    code = f"from soups.models.download import fetch; fetch({server.url!r}, {str(target)!r})"
    job = subprocess.Popen([sys.executable, "-c", code], cwd=SCRIPTS)
    try:
        while not (part_of(target).exists() and part_of(target).stat().st_size >= HALF - 2**18):
            assert job.poll() is None
            time.sleep(0.01)
    finally:
        job.send_signal(signal.SIGKILL)
        job.wait()
        server.stall.set()
    server.stall, have = None, part_of(target).stat().st_size
    fetch(server, target)
    assert target.read_bytes() == DATA
    assert server.asked == [None, f"bytes={have}-"]


@pytest.mark.parametrize("ranges", [True, "always"])
def test_a_changed_file_is_not_appended_to_an_old_half(server, half, ranges):
    target = half()
    server.data, server.tag, server.ranges = OTHER, '"two"', ranges
    fetch(server, target)
    assert target.read_bytes() == OTHER
    # With If-Range one answer is enough. A server that ignores it gets a second request.
    assert server.asked == [f"bytes={HALF}-"] + ([] if ranges is True else [None])


@pytest.mark.parametrize("tag", [None, 'W/"one"'])
def test_without_a_version_a_download_starts_over(server, target, tag):
    server.tag, server.plan = tag, [("cut", HALF)]
    fetch(server, target)
    assert target.read_bytes() == DATA
    assert server.asked == [None, None]


def test_another_address_starts_over(server, half):
    target = half()
    server.data, server.url = OTHER, f"{server.url}?mirror"  # another address with the same ETag
    fetch(server, target)
    assert target.read_bytes() == OTHER


def test_a_server_without_range_starts_over(server, half):
    server.ranges = False
    target = half()
    fetch(server, target)
    assert target.read_bytes() == DATA
    assert server.asked == [f"bytes={HALF}-"]


def test_a_file_shorter_than_the_partial_one_starts_over(server, half):
    target = half()
    server.data, server.ranges = OTHER[:1000], "always"
    fetch(server, target)
    assert target.read_bytes() == OTHER[:1000]
    assert server.asked == [f"bytes={HALF}-", None]  # 416, then the whole file


def test_a_complete_partial_file_is_not_requested_again(server, half):
    target = half()
    part_of(target).write_bytes(DATA)  # killed after the last byte
    fetch(server, target)
    assert target.read_bytes() == DATA
    assert server.asked == []


def test_passing_errors_lead_to_another_attempt(server, target):
    server.plan = [("code", 503), ("code", 429)]
    fetch(server, target, attempts=3)
    assert target.read_bytes() == DATA


def test_new_bytes_reset_the_number_of_failures(server, target):
    server.plan = [("cut", 200_000), ("code", 503)] * 10
    fetch(server, target, attempts=2)
    assert target.read_bytes() == DATA


def test_a_connection_that_is_always_lost_at_one_place_ends(server, target):
    server.ranges, server.plan = False, [("cut", HALF)] * 100
    with pytest.raises(UserError, match=rf"3 attempts .* \(connection lost after {HALF:,} of"):
        fetch(server, target, attempts=3)
    assert len(server.asked) == 4  # only the first one brought new bytes


@pytest.mark.parametrize("code", [404, 403, 410])
def test_a_refusal_is_named_at_once(server, target, code):
    server.plan = [("code", code)]
    with pytest.raises(UserError, match=rf"model_0\.pt: the server answers {code} .*, expected a"):
        fetch(server, target)
    assert len(server.asked) == 1
    assert list(target.parent.iterdir()) == []


def test_a_web_page_is_refused(server, target):
    server.type = "text/html; charset=utf-8"
    with pytest.raises(UserError, match="the server answers with a web page"):
        fetch(server, target)
    assert list(target.parent.iterdir()) == []


def test_the_error_without_a_server_names_the_cause(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # a port where nobody listens
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
        with pytest.raises(UserError, match=r": 2 attempts in a row failed \(.*refused"):
            download.fetch(url, target, attempts=2, backoff=0)


def test_a_silent_server_is_a_failure(server, target):
    # Half of the file arrives, then nothing. The second attempt brings the same half.
    server.stall, server.ranges = threading.Event(), False
    try:
        with pytest.raises(UserError, match=r"1 attempts in a row failed \(.*timed out"):
            fetch(server, target, attempts=1, timeout=0.2)
    finally:
        server.stall.set()
    assert server.asked == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://x/y", "model_0.pt"])
def test_other_addresses_are_refused(target, url):
    with pytest.raises(UserError, match="is not a download address"):
        download.fetch(url, target)


def test_chunks_need_no_length(server, target):
    server.chunked = True
    server.plan = [("cut", HALF)]
    fetch(server, target)
    assert target.read_bytes() == DATA


def test_without_a_length_a_checksum_must_be_known(server, target, tmp_path):
    server.length, sums = False, tmp_path / "SHA256SUMS"
    with pytest.raises(UserError, match="no Content-Length and the checksum is unknown"):
        fetch(server, target, sums)
    sums.write_text(f"{sha256(DATA)}  model_0.pt\n")
    server.plan = [("cut", HALF)]
    with pytest.raises(UserError, match=r"model_0\.pt has sha256 .*, expected"):
        fetch(server, target, sums)
    fetch(server, target, sums)
    assert target.read_bytes() == DATA


def test_trust_on_first_use(server, target, tmp_path):
    sums = tmp_path / "published" / "SHA256SUMS"
    fetch(server, target, sums)
    assert sums.read_text() == f"{sha256(DATA)}  model_0.pt\n"
    target.unlink()
    fetch(server, target, sums)
    target.unlink()
    server.data, server.tag = OTHER, '"two"'
    with pytest.raises(
        UserError, match=f"model_0.pt has sha256 {sha256(OTHER)}, expected {sha256(DATA)} from"
    ):
        fetch(server, target, sums)
    assert list(target.parent.iterdir()) == []  # no wrong file is left to resume from
    assert sums.read_text() == f"{sha256(DATA)}  model_0.pt\n"


def test_sums_are_those_of_sha256sum(server, target, tmp_path):
    sums = tmp_path / "SHA256SUMS"
    fetch(server, target, sums, name="a/model_0.pt")
    (tmp_path / "a").symlink_to(target.parent)
    subprocess.run(["sha256sum", "--check", "--strict", sums.name], cwd=tmp_path, check=True)
    subprocess.run(
        ["sha256sum", "--binary", "a/model_0.pt"], cwd=tmp_path, check=True,
        stdout=sums.open("w"),
    )  # fmt: skip
    assert checksums.read_sums(sums) == {"a/model_0.pt": sha256(DATA)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("d41d8c  model_0.pt", "line 1 is 'd41d8c  model_0.pt', expected 64"),
        (f"\n{'0' * 64}  x\n{'1' * 64}  x\n", "line 3 has a second checksum of 'x', expected one"),
    ],
)
def test_malformed_sums_are_refused(tmp_path, text, message):
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(text)
    with pytest.raises(UserError, match=f"SHA256SUMS, {message}"):
        checksums.read_sums(sums)


def test_jobs_record_sums_at_the_same_time(tmp_path):
    sums, go = tmp_path / "SHA256SUMS", tmp_path / "go"
    sums.write_text(f"{'f' * 64}  first.pt")  # the last line has no line break
    code = f"""if True:
        import pathlib, sys, time
        from soups.models.checksums import check
        while not pathlib.Path({str(go)!r}).exists():
            time.sleep(0.001)
        for i in range(50):
            check(f"{{sys.argv[1]}}-{{i}}.pt", "0" * 64, {str(sums)!r}, record=True)
    """
    jobs = [subprocess.Popen([sys.executable, "-c", code, str(k)], cwd=SCRIPTS) for k in range(4)]
    go.touch()
    assert [job.wait() for job in jobs] == [0, 0, 0, 0]
    names = {f"{k}-{i}.pt" for k in range(4) for i in range(50)}
    assert checksums.read_sums(sums).keys() == names | {"first.pt"}


def test_checking_alone_records_nothing(tmp_path):
    sums = tmp_path / "SHA256SUMS"
    checksums.check("x", "0" * 64, sums)
    checksums.check("x", "0" * 64, None, record=True)
    assert not sums.exists()


def test_one_download_at_a_time(server, half):
    target = half()
    with open(part_of(target), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"model_0\.pt\.part is being written by another"):
            fetch(server, target)
    assert part_of(target).read_bytes() == DATA[:HALF]


def test_progress_in_the_log(caplog):
    caplog.set_level(logging.INFO, "soups")
    now = 100.0
    with download.DownloadProgress("x.pt", 200_000_000, 500_000_000, lambda: now) as progress:
        for _ in range(12):
            now += 1
            progress.add(20_000_000)
        assert [record.message for record in caplog.records] == [
            "x.pt: 60% of 500.0 MB, 20.0 MB/s, 0:10 left",
            "x.pt: 80% of 500.0 MB, 20.0 MB/s, 0:05 left",
        ]
    assert caplog.records[-1].message == "x.pt: 88% of 500.0 MB, 20.0 MB/s, 0:03 left"


def test_progress_without_a_size():
    now = 0.0
    with download.DownloadProgress("x.pt", 0, None, lambda: now) as progress:
        assert progress.line() == "x.pt: 0.0 MB, 0.0 MB/s"
        now = 2.0
        progress.add(3_000_000)
        assert progress.line() == "x.pt: 3.0 MB, 1.5 MB/s"


def test_the_job(server, target, tmp_path):
    url = server.url.rpartition("/")[0]
    checkpoints = {"url": f"{url}/", "file": "{model}.pt", "sums": str(tmp_path / "SHA256SUMS")}
    job = SimpleNamespace(
        config={"ingredients": {"checkpoints": checkpoints}},
        wildcards=SimpleNamespace(released="model_0"),
        output=[str(target)],
    )
    download_checkpoint.main(job)
    assert target.read_bytes() == DATA
    assert checksums.read_sums(tmp_path / "SHA256SUMS") == {"model_0.pt": sha256(DATA)}
