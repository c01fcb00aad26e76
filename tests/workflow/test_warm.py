"""The interpreter that tests use for most jobs behaves as a new one does."""

import os
import subprocess
import sys

import pytest

from tests.workflow import warm

SCRIPT = """
import atexit, os, sys, threading, time
print(sys.argv[1:], __name__, os.path.basename(__file__), os.getcwd(), os.environ.get("GIVEN"))
print(sys.path[0] == os.path.dirname(os.path.realpath(__file__)), sys.executable)
print([name for name in sys.modules if name.split(".")[0] in ("soups", "tests")])
print(sys.stdin.read(), "on the error stream", file=sys.stderr)
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.05), print("in a thread"))).start()
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("", 0),
        ("sys.exit()", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('a sentence')", 1),
        ("raise KeyError('missing')", 1),
    ],
)
def test_a_script_has_the_same_output_and_status_as_in_a_new_interpreter(tmp_path, end, status):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT + end)

    def run(python: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [python, str(path), "one", "two words"],
            cwd=tmp_path, env=os.environ | {"GIVEN": "x"}, input="given",
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    one, two = run(sys.executable), run(warm.python())
    assert (one.returncode, one.stdout) == (two.returncode, two.stdout)
    assert two.returncode == status
    # Tracebacks have other lines above those of the script.
    assert one.stderr.splitlines()[0] == two.stderr.splitlines()[0]
    assert one.stderr.splitlines()[-1] == two.stderr.splitlines()[-1]


def test_a_script_that_is_killed_fails(tmp_path):
    path = tmp_path / "script.py"
    path.write_text("import os\nos.kill(os.getpid(), 9)\n")
    assert subprocess.run([warm.python(), str(path)], check=False).returncode != 0


@pytest.mark.skipif(sys.platform != "linux", reason="has the real interpreter alone")
def test_packages_are_imported_before_a_script_begins(tmp_path):
    path = tmp_path / "script.py"
    path.write_text("import sys\nprint('torch' in sys.modules)\n")
    told = [subprocess.check_output([p, path], text=True) for p in (sys.executable, warm.python())]
    assert told == ["False\n", "True\n"]
