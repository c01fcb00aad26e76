"""A Python that has imported the large packages before it starts a program.

Most jobs of a test compute for a tenth of a second and import torch and its companions for three.
`python` returns the path of an interpreter that asks a server process to fork instead. The forked
process has these packages, but no module of the project, and runs a script or a module as a new
interpreter would: with its own arguments, folder, environment and streams. It gets no signals,
so that tests of signals need the real interpreter.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

PACKAGES = (
    "numpy", "pandas", "scipy.stats", "matplotlib.pyplot", "torch", "torchvision", "timm",
    "open_clip", "safetensors.torch", "snakemake.cli", "transformers",
)  # fmt: skip
CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    asked = {"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)}
    socket.send_fds(server, [b" "], [0, 1, 2])
    server.sendall(json.dumps(asked).encode())
    server.shutdown(socket.SHUT_WR)
    code = int(server.recv(16) or 1)
sys.exit(code if code >= 0 else 128 - code)
"""


@functools.cache
def python() -> str:
    """Start the server of this process, and return the path of the interpreter.

    Beside it is a program ``snakemake``. Elsewhere than on Linux, a process that has imported
    these packages cannot fork, and the path is that of the real interpreter.
    """
    if sys.platform != "linux":
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    address, path = folder / "socket", folder / "python"
    (folder / "client.py").write_text(CLIENT)
    real = f'"{sys.executable}"'
    client = f'exec {real} -I -S "{folder}/client.py" "{address}"'
    programs = {
        "python": f'case "$1" in -m|*.py) {client} "$@" ;; *) exec {real} "$@" ;; esac',
        "snakemake": f'{client} -m snakemake "$@"',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, str(address)]
    server = subprocess.Popen(
        command, env=os.environ | one, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while not address.exists():
        assert server.poll() is None, "the server of warm interpreters has ended"
        time.sleep(0.01)
    return str(path)


def serve(address: str) -> dict:
    """Fork for each request, until the process that started the server has ended.

    Returns:
        the request, in the forked process alone.
    """
    parent, clients = os.getppid(), {}
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    listener.settimeout(1)
    for name in PACKAGES:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # Forked processes share these pages, and a collection would write to them.

    def reap(*_) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with suppress(OSError), clients.pop(ended[0]) as client:
                    client.sendall(str(os.waitstatus_to_exitcode(ended[1])).encode())

    signal.signal(signal.SIGCHLD, reap)
    while os.getppid() == parent:
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        client.settimeout(None)
        streams = socket.recv_fds(client, 1, 3)[1]
        with client.makefile("rb") as file:
            text = file.read()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        if not (child := os.fork()):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            for held in (listener, client, *clients.values()):
                held.close()
            for stream in streams:
                os.close(stream)
            return json.loads(text)
        clients[child] = client
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for stream in streams:
            os.close(stream)
    shutil.rmtree(Path(address).parent)
    sys.exit()


def run(arguments: list[str], folder: str, environment: dict[str, str], address: str) -> None:
    """Run ``script.py ...`` or ``-m module ...`` as the main program."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    own = str(Path(__file__).parent)
    path = [entry for entry in sys.path if entry != own]
    given = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if arguments[0] == "-m":
        sys.path[:] = [folder, *given, *path]
        sys.argv[:] = arguments[1:]
        # Snakemake starts jobs with the interpreter that it runs in.
        sys.executable = str(Path(address).with_name("python"))
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[:] = [str(Path(arguments[0]).resolve().parent), *given, *path]
        sys.argv[:] = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    own, code = sys.argv[1], 1
    asked = serve(own)
    try:
        run(**asked, address=own)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    # A normal exit would free every object of every package, which takes longer than most jobs.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
