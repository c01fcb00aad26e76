"""A SLURM of one node on this machine: real daemons with a state folder and ports of their own.

It does not touch a SLURM that is already configured on the machine. It reads and writes in its
state folder alone, and it ends its daemons by their own process ids.
"""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")  # Debian's
COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
# Daemons are in folders that only root's PATH may have.
SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>
READY = 60  # seconds that the node may take to run jobs
RUNS_JOBS = ("idle", "planned", "mixed", "allocated", "completing")

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdDebug=debug
StateSaveLocation={folder}/slurmctld
SlurmdSpoolDir={folder}/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
EnforcePartLimits=ALL
DefMemPerCPU=500
MinJobAge=86400
KillWait=20
ReturnToService=1
MpiDefault=none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:fake:2 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime={longest} State=UP
PartitionName=gpu Nodes={host} MaxTime={longest} State=UP
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
"""
# A device file for each: SLURM counts these, and sets CUDA_VISIBLE_DEVICES.
GPUS = "Name=gpu Type=fake File=/dev/null\nName=gpu Type=fake File=/dev/zero\n"
# Snakemake's plugin drops SLURM_CONF before the `srun` inside a job.
SRUN = '#!/bin/sh\nSLURM_CONF={conf} exec {srun} "$@"\n'


def why_not() -> str | None:
    """Return why no SLURM can be started here, even after installing it, or None if it can."""
    if os.geteuid():
        return "SLURM's daemons need root"
    if not all(map(_found, COMMANDS)):
        _install()
    missing = [command for command in COMMANDS if not _found(command)]
    return f"no {', '.join(missing)}: needs {' and '.join(PACKAGES)}" if missing else None


def _found(command: str) -> str | None:
    return shutil.which(command, path=SEARCHED)


def _install() -> None:
    """Try to install Debian's packages. `why_not` then looks for commands that are missing."""
    if not shutil.which("apt-get"):
        return
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    for command in (["apt-get", "update"], install):
        try:
            subprocess.run(command, env=environment, timeout=300, **quiet)
        except subprocess.TimeoutExpired:
            return


class Cluster:
    """One running cluster. With its `environment`, SLURM's commands talk to it."""

    def __init__(self, folder: Path, cpus: int, longest: int) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen] = {}
        self.host = socket.gethostname().split(".")[0]
        conf = folder / "slurm.conf"
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 9 // 10 >> 20
        conf.write_text(
            CONFIG.format(
                host=self.host,
                folder=folder,
                ports=_free_ports(2),
                cpus=cpus,
                memory=memory,
                longest=longest,
            )
        )
        (folder / "gres.conf").write_text(GPUS)
        for name in ("slurmctld", "slurmd", "munge", "bin"):
            (folder / name).mkdir(mode=0o755)
        wrapper = folder / "bin" / "srun"
        wrapper.write_text(SRUN.format(conf=conf, srun=_found("srun")))
        wrapper.chmod(0o755)
        self.environment = {
            "SLURM_CONF": str(conf),
            "PATH": f"{folder / 'bin'}{os.pathsep}{SEARCHED}",
        }

    def run(self, *command: str, check: bool = True) -> str:
        """Run one of SLURM's commands and return its output."""
        try:
            done = subprocess.run(
                command,
                env=os.environ | self.environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
        except subprocess.TimeoutExpired as error:
            if check:
                raise RuntimeError(f"{' '.join(command)}: no answer") from error
            return ""
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Return every job so far, oldest first, as a dict of the columns that squeue prints.

        The rule and its wildcards are in `comment`.
        """
        keys = ("id", "state", "reason", "comment", "partition", "cpus", "memory", "time")
        rows = self.run("squeue", "-h", "-t", "all", "-S", "i", "-o", "%i|%T|%r|%k|%P|%C|%m|%l")
        jobs = [dict(zip(keys, row.split("|"), strict=True)) for row in rows.splitlines()]
        wide = "jobid:20,tres-per-job:40"
        gpus = self.run("squeue", "-h", "-t", "all", "-O", wide).splitlines()
        asked = {row[:20].strip(): row[20:].strip() for row in gpus}
        return [job | {"gpus": asked.get(job["id"], "N/A")} for job in jobs]

    def start_now(self) -> None:
        """Start waiting jobs now. SLURM holds back a job that it queued again for two minutes."""
        for job in self.jobs():
            if job["state"] == "PENDING":  # it may run by now, and then the command fails
                update = ("update", f"JobId={job['id']}", "StartTime=now")
                self.run("scontrol", *update, check=False)

    def held(self) -> set[str]:
        """Return the ids of jobs that the node has started and is not done with.

        If SLURM starts such a job again on the node, it drains the node. A second run of a job that
        was queued again is not seen.
        """
        log = (self.folder / "slurmd.log").read_text()
        started = set(re.findall(r"Launching batch job (\d+)", log))
        ended = {job["id"] for job in self.jobs() if job["state"] in ("COMPLETED", "FAILED")}
        return started - ended - set(re.findall(r"JobId=(\d+): sent epilog complete", log))

    def node(self, state: str) -> None:
        """Set the node's state, as an administrator does."""
        self.run("scontrol", "update", f"NodeName={self.host}", f"State={state}", "Reason=a test")

    def node_state(self) -> str:
        state = self.run("sinfo", "-h", "-N", "-p", "cpu", "-o", "%T", check=False).strip()
        return state.rstrip("-")  # SLURM marks a node that a waiting job will get

    def wait_for_node(self) -> None:
        """Wait until the node can run jobs.

        Raises:
            RuntimeError: if it cannot after `READY` seconds, or if a daemon has ended. It has the
                `report`.
        """
        for name, process in self.daemons.items():
            if process.poll() is not None:
                status = process.returncode
                raise RuntimeError(f"{name} ended with status {status}\n{self.report()}")
        _wait(self, lambda: self.node_state() in RUNS_JOBS, "the node cannot run jobs")

    def report(self) -> str:
        """Return the states of node and jobs, and the ends of the daemons' logs."""
        node = self.run("sinfo", "-N", "-l", check=False)
        jobs = self.run("squeue", "-t", "all", "-o", "%i %T %r %k", check=False)
        logs = [path for path in sorted(self.folder.rglob("*log")) if path.is_file()]
        ends = [f"{log.name}:\n{log.read_text(errors='replace')[-1500:]}" for log in logs]
        return "\n".join([node, jobs, *ends])


@contextmanager
def running(cpus: int = 8, longest: int = 12):
    """Start munge, controller and node, and wait for the node. End them afterwards.

    Args:
        cpus: number of CPUs that the node reports.
        longest: minutes that a job may ask for. SLURM refuses more.

    Raises:
        RuntimeError: if the node cannot run jobs in time, with the end of the daemons' logs.
    """
    with ExitStack() as ending:
        # Not in pytest's folders, because munge requires a folder that every user can reach.
        folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        cluster = Cluster(folder, cpus, longest)
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        munge = {
            "key-file": key, "socket": folder / "munge" / "socket",
            "pid-file": folder / "munge" / "pid", "log-file": folder / "munge" / "log",
            "seed-file": folder / "munge" / "seed",
        }  # fmt: skip
        options = [f"--{name}={value}" for name, value in munge.items()]
        ending.callback(_end_processes, cluster)
        ending.enter_context(_daemon(cluster, "munged", "--foreground", *options))
        _wait(cluster, lambda: (folder / "munge" / "socket").exists(), "munge has no socket")
        ending.enter_context(_daemon(cluster, "slurmctld", "-D", "-c"))
        ending.enter_context(_daemon(cluster, "slurmd", "-D", "-c"))
        ending.callback(end_jobs, cluster)
        cluster.wait_for_node()
        yield cluster


@contextmanager
def _daemon(cluster: Cluster, name: str, *options: str):
    process = subprocess.Popen(
        [_found(name), *options],
        env=os.environ | cluster.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C must reach the tests alone
        preexec_fn=_end_with_parent,
    )
    cluster.daemons[name] = process
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    """Have Linux end this new process when the tests end, even if they are killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(cluster: Cluster, ready, otherwise: str) -> None:
    deadline = time.monotonic() + READY
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{otherwise} after {READY} s\n{cluster.report()}")
        time.sleep(0.2)


def end_jobs(cluster: Cluster) -> None:
    """Cancel all jobs and wait until SLURM lists none."""
    deadline = time.monotonic() + 60
    while cluster.run("squeue", "-h", check=False).strip() and time.monotonic() < deadline:
        cluster.run("scancel", "--user=root", check=False)
        time.sleep(1)


def _end_processes(cluster: Cluster) -> None:
    """Kill processes that jobs left behind. SLURM without cgroups may lose some when a node fails.

    Their environment names the configuration of this cluster, so no other process is killed.
    """
    mine = f"SLURM_CONF={cluster.environment['SLURM_CONF']}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mine in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended, or belongs to another user


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
