"""The scripts of profiles/generic: how they submit jobs, and how they read a scheduler's answers.

PBS, LSF and SGE are not available to the tests. The commands are stubs that print what the manuals
and the sources of OpenPBS and Grid Engine say. tests/slurm also tests the lines for SLURM, with a
real SLURM.
"""

import os
import shlex
import subprocess
from typing import NamedTuple

import pytest

COMMANDS = {"pbs": "qsub", "lsf": "bsub", "sge": "qsub", "slurm": "sbatch"}
SCHEDULERS = list(COMMANDS)


class Answer(NamedTuple):
    """What a call of a command prints, and its exit status."""

    out: str = ""
    error: str = ""
    code: int = 0


class Cluster:
    """A folder of stub commands, first in the path. ``sleep`` is a stub too, so nothing waits."""

    def __init__(self, root, folder) -> None:
        self.scripts, self.folder, self.commands = root / "profiles/generic", folder, folder / "bin"
        self.commands.mkdir()
        # A command that a test does not expect fails.
        for name in ("bjobs", "bsub", "qacct", "qstat", "qsub", "sbatch", "squeue"):
            self.put(name, Answer(error=f"{name}: not expected here\n", code=1))
        self.put("sleep", Answer())

    def put(self, name: str, *answers: Answer) -> None:
        """Write a command that gives these answers in turn, and then repeats the last one."""
        calls = shlex.quote(str(self.folder / f"{name}.calls"))
        cases = [
            f"{number if number < len(answers) else '*'})\n"
            f"printf %s {shlex.quote(out)}; printf %s {shlex.quote(error)} >&2; exit {code};;"
            for number, (out, error, code) in enumerate(answers, start=1)
        ]
        lines = [
            "#!/bin/sh",
            f"for word; do printf '%s\\037' \"$word\"; done >> {calls}; echo >> {calls}",
            f"case $(wc -l < {calls} | tr -d ' ') in",
            *cases,
            "esac",
        ]
        path = self.commands / name
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        """Return the arguments of each call of a command."""
        path = self.folder / f"{name}.calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split("\037")[:-1] for line in lines]

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        variables["PATH"] = f"{self.commands}:{os.environ['PATH']}"
        return subprocess.run(
            [self.scripts / script, *arguments],
            cwd=self.folder,
            env={k: v for k, v in os.environ.items() if k != "STATUS_PAUSE"} | variables,
            capture_output=True,
            text=True,
        )

    def status(self, scheduler: str, number: str = "12", **variables: str) -> str:
        done = self.run("status.sh", scheduler, number, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == 1
        return done.stdout.strip()


@pytest.fixture
def cluster(root, tmp_path) -> Cluster:
    return Cluster(root, tmp_path)


# The text that a scheduler prints for a submitted job, and the job's id.
SUBMITTED = {
    "pbs": ("12.server\n", "12.server"),
    "lsf": ("Job <12> is submitted to queue <large>.\n", "12"),
    "sge": ("12\n", "12"),
    "slurm": ("12;second_cluster\n", "12"),
}
# The options for 8 CPUs, 32000 MB, 90 minutes and a number of GPUs.
ASKED = {
    "pbs": ["-q large", "-l select=1:ncpus=8:mem=32000mb:ngpus={}", "-l walltime=5400"],
    "lsf": ["-q large", "-n 8", "-R span[hosts=1]", "-M 32000MB", "-W 90"],
    "sge": ["-terse", "-cwd", "-q large", "-pe smp 8", "-l h_vmem=4000M,h_rt=5400,gpu={}"],
    "slurm": [
        "--parsable", "--partition=large", "--nodes=1", "--ntasks=1", "--cpus-per-task=8",
        "--mem=32000", "--time=90",
    ],
}  # fmt: skip
# Options that only a job with a GPU gets.
GPUS = {"lsf": "-gpu num={}", "slurm": "--gpus={}"}


def submit(cluster: Cluster, scheduler: str, gpus: int) -> subprocess.CompletedProcess:
    asked = ["large", "8", "32000", "90", str(gpus), "a job.sh"]
    return cluster.run("submit.sh", scheduler, *asked)


@pytest.mark.parametrize("gpus", [0, 2])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_submission_asks_in_units_of_its_scheduler_and_prints_the_id(cluster, scheduler, gpus):
    printed, number = SUBMITTED[scheduler]
    cluster.put(COMMANDS[scheduler], Answer(printed))
    done = submit(cluster, scheduler, gpus)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{number}\n", "")
    [arguments] = cluster.calls(COMMANDS[scheduler])
    assert arguments.index("a job.sh") == len(arguments) - 1
    assert "" not in arguments
    words = ASKED[scheduler] + ([GPUS[scheduler]] if gpus and scheduler in GPUS else [])
    line = f" {' '.join(arguments)} "
    assert [w for w in words if f" {w.format(gpus)} " not in line] == []
    if scheduler in GPUS and not gpus:
        assert "gpu" not in line


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_folder_of_the_logs_is_made(cluster, scheduler):
    cluster.put(COMMANDS[scheduler], Answer(SUBMITTED[scheduler][0]))
    submit(cluster, scheduler, 0)
    assert (cluster.folder / ".snakemake/cluster_logs").is_dir()
    [arguments] = cluster.calls(COMMANDS[scheduler])
    assert any(".snakemake/cluster_logs/" in word for word in arguments)


@pytest.mark.parametrize(
    ("scheduler", "error", "code"),
    [
        ("pbs", "qsub: Unknown queue\n", 170),
        ("lsf", "large: No such queue. Job not submitted.\n", 255),
        ("sge", 'Unable to run job: Job was rejected because job requests unknown queue "large".\n'
         "Exiting.\n", 1),
        ("slurm", "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
         1),
    ],
)  # fmt: skip
def test_a_refused_submission_fails_and_prints_no_id(cluster, scheduler, error, code):
    cluster.put(COMMANDS[scheduler], Answer("", error, code))
    done = submit(cluster, scheduler, 1)
    assert done.returncode == code
    assert (done.stdout, done.stderr) == ("", error)


def pbs(state: str, exit_status: int | None = None) -> Answer:
    lines = [
        "Job Id: 12.server",
        "    Job_Name = soups",
        "    Job_Owner = me@login",
        f"    job_state = {state}",
        "    queue = large",
        # PBS prints values unquoted, so a value may look like another line.
        r"    Variable_List = PBS_O_HOME=/home/me,PS1=\u \c,NOTE=job_state = R,",
        "\tPBS_O_WORKDIR=/home/me/soups",
        "    comment = Job run at Tue Nov 21 at 12:00 on (node:ncpus=8)",
        *([] if exit_status is None else [f"    Exit_status = {exit_status}"]),
        "    project = _pbs_project_default",
    ]
    return Answer("\n".join(lines) + "\n\n")


PBS_UNKNOWN = Answer(error="qstat: Unknown Job Id 12.server\n", code=153)
PBS_AWAY = Answer(
    error="Connection refused\nqstat: cannot connect to server server (errno=15010)\n", code=255
)
PBS_NO_HISTORY = Answer(error="qstat: PBS is not configured to maintain job history\n", code=1)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (pbs("Q"), "running"),
        (pbs("R"), "running"),
        (pbs("H"), "running"),
        (pbs("E", 0), "running"),  # its files may not be there yet
        (pbs("F", 0), "success"),
        (pbs("F", 1), "failed"),
        (pbs("F", 10), "failed"),
        (pbs("F", 271), "failed"),
        (pbs("F", -29), "failed"),  # out of time
        (pbs("F"), "failed"),  # deleted while it was queued
        (PBS_UNKNOWN, "failed"),
        (PBS_AWAY, "running"),
        (PBS_NO_HISTORY, "running"),
        (Answer(code=124), "running"),
    ],
)
def test_a_pbs_job_is_what_its_history_says(cluster, answer, status):
    cluster.put("qstat", answer)
    assert cluster.status("pbs", "12.server") == status
    assert cluster.calls("qstat") == [["-x", "-f", "12.server"]]


LSF_UNKNOWN = Answer(error="Job <12> is not found\n", code=255)
LSF_AWAY = Answer(error="LSF is down. Please wait ...\n", code=255)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        *((Answer(f"{state}\n"), "running") for state in ("PEND", "RUN", "SSUSP", "UNKWN")),
        (Answer("DONE\n"), "success"),
        (Answer("DONE \n"), "success"),  # LSF pads the column to five characters
        (Answer("EXIT\n"), "failed"),
        (Answer("EXIT \n"), "failed"),
        (Answer("DONE\n", "batch system daemon not responding ... still trying\n"), "success"),
        (LSF_AWAY, "running"),
        (Answer(error="Job <123> is not found\n", code=255), "running"),  # another job
        (Answer(code=255), "running"),
    ],
)
def test_an_lsf_job_is_what_bjobs_says(cluster, answer, status):
    cluster.put("bjobs", answer)
    assert cluster.status("lsf") == status
    assert cluster.calls("bjobs") == [["-noheader", "-o", "stat", "12"]]


@pytest.mark.parametrize(
    ("later", "status"),
    [
        (LSF_UNKNOWN, "failed"),
        (LSF_AWAY, "running"),
        (Answer("PEND\n"), "running"),  # the job was new
        (Answer("DONE\n"), "success"),
    ],
)
def test_a_job_that_lsf_does_not_know_is_asked_for_twice(cluster, later, status):
    cluster.put("bjobs", LSF_UNKNOWN, later)
    assert cluster.status("lsf") == status
    assert len(cluster.calls("bjobs")) == 2
    assert cluster.calls("sleep") == [["30"]]


SGE_KNOWN = Answer(
    "==============================================================\n"
    "job_number:                 12\n"
    "job_name:                   soups\n"
    "env_list:                   NOTE=Following jobs do not exist: 12\n"
)
SGE_UNKNOWN = Answer(error="Following jobs do not exist: \n12\n", code=1)
SGE_AWAY = Answer(
    error="error: commlib error: got select error (Connection refused)\n"
    'error: unable to send message to qmaster using port 6444 on host "server"\n',
    code=1,
)
NOT_ACCOUNTED = Answer(error="error: job id 12 not found\n", code=1)
NO_ACCOUNTING = Answer(
    "no jobs running since startup\n",
    "/opt/sge/default/common/accounting: No such file or directory\n",
    1,
)


def accounted(*ends: tuple[str, str]) -> Answer:
    """Return the records of a job, one for each pair of `failed` and `exit_status`."""
    records = [
        "==============================================================\n"
        "qname        large               \n"
        "jobname      soups               \n"
        "jobnumber    12                  \n"
        f"failed       {failed:20}\n"
        f"exit_status  {status:20}\n"
        "ru_wallclock 100s\n"
        for failed, status in ends
    ]
    return Answer("".join(records))


@pytest.mark.parametrize(
    ("queue", "accounting", "status"),
    [
        (SGE_KNOWN, NOT_ACCOUNTED, "running"),
        # The job runs again, and its record is from the time before.
        (SGE_KNOWN, accounted(("25  : rescheduling", "0")), "running"),
        (SGE_UNKNOWN, accounted(("0", "0")), "success"),
        (SGE_UNKNOWN, accounted(("0", "1")), "failed"),
        (SGE_UNKNOWN, accounted(("100 : assumedly after job", "137 (Killed)")), "failed"),
        (SGE_UNKNOWN, accounted(("26  : opening input/output file", "0")), "failed"),
        (SGE_UNKNOWN, accounted(("25  : rescheduling", "137"), ("0", "0")), "success"),
        (SGE_UNKNOWN, accounted(("0", "0"), ("0", "1")), "failed"),  # SGE uses ids again
        (SGE_AWAY, NOT_ACCOUNTED, "running"),
        (SGE_UNKNOWN, NO_ACCOUNTING, "running"),
        (SGE_UNKNOWN, Answer(error="status.sh: 1: qacct: not found\n", code=127), "running"),
        (SGE_UNKNOWN, Answer(code=1), "running"),
        (Answer(code=1), NOT_ACCOUNTED, "running"),
    ],
)
def test_an_sge_job_is_what_queue_and_accounting_say(cluster, queue, accounting, status):
    cluster.put("qstat", queue)
    cluster.put("qacct", accounting)
    assert cluster.status("sge") == status
    assert cluster.calls("qstat") == [["-j", "12"]]
    assert cluster.calls("qacct") == ([["-j", "12"]] if queue is SGE_UNKNOWN else [])
    assert cluster.calls("sleep") == []


@pytest.mark.parametrize(
    ("later", "status"),
    [
        (NOT_ACCOUNTED, "failed"),
        (SGE_AWAY, "running"),
        (Answer(code=1), "running"),
        (accounted(("0", "0")), "success"),
        (accounted(("0", "3")), "failed"),
    ],
)
def test_a_job_that_has_ended_may_come_to_sges_accounting_later(cluster, later, status):
    cluster.put("qstat", SGE_UNKNOWN)
    cluster.put("qacct", NOT_ACCOUNTED, later)
    assert cluster.status("sge") == status
    assert cluster.calls("qacct") == [["-j", "12"]] * 2
    assert cluster.calls("sleep") == [["30"]]


@pytest.mark.parametrize("scheduler", ["lsf", "sge"])
def test_the_pause_can_be_set(cluster, scheduler):
    cluster.put("bjobs", LSF_UNKNOWN)
    cluster.put("qstat", SGE_UNKNOWN)
    cluster.put("qacct", NOT_ACCOUNTED)
    assert cluster.status(scheduler, STATUS_PAUSE="7") == "failed"
    assert cluster.calls("sleep") == [["7"]]


SLURM_UNKNOWN = Answer(error="slurm_load_jobs error: Invalid job id specified\n", code=1)
SLURM_ENDED = [
    "BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
    "TIMEOUT",
]  # fmt: skip
SLURM_WAITED_FOR = [
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STAGE_OUT", "REQUEUED",
    "REVOKED",  # another cluster of a federation runs it
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer("COMPLETED\n"), "success"),
        *((Answer(f"{state}\n"), "failed") for state in SLURM_ENDED),
        *((Answer(f"{state}\n"), "running") for state in SLURM_WAITED_FOR),
        (SLURM_UNKNOWN, "failed"),
        (Answer(error="slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
                "\n", code=1), "running"),
        (Answer(error="slurm_load_jobs error: Socket timed out on send/recv operation\n", code=1),
         "running"),
        (Answer(), "running"),
    ],
)  # fmt: skip
def test_a_slurm_job_is_what_squeue_says(cluster, answer, status):
    cluster.put("squeue", answer)
    assert cluster.status("slurm") == status
    [arguments] = cluster.calls("squeue")
    assert "--jobs=12" in arguments


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_messages_are_asked_for_in_english(cluster, scheduler):
    name, unknown = {
        "pbs": ("qstat", PBS_UNKNOWN),
        "lsf": ("bjobs", LSF_UNKNOWN),
        "sge": ("qstat", SGE_UNKNOWN),
        "slurm": ("squeue", SLURM_UNKNOWN),
    }[scheduler]
    cluster.put(name, unknown)
    cluster.put("qacct", NOT_ACCOUNTED)
    number = "12.server" if scheduler == "pbs" else "12"
    path = cluster.commands / name
    english = '#!/bin/sh\n[ "$LC_ALL" = C ] || { echo Unbekannt >&2; exit 1; }'
    path.write_text(path.read_text().replace("#!/bin/sh", english, 1))
    assert cluster.status(scheduler, number, LC_ALL="POSIX") == "failed"


@pytest.mark.parametrize(
    ("script", "arguments"),
    [("status.sh", ["12"]), ("submit.sh", ["large", "8", "32000", "90", "0", "job.sh"])],
)
def test_another_scheduler_is_refused(cluster, script, arguments):
    done = cluster.run(script, "condor", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'condor'" in done.stderr
