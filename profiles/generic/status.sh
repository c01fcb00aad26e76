#!/bin/sh
# Print the state of a job: `running` (or waiting), `success` or `failed`.
#   status.sh SCHEDULER ID
# If the scheduler does not answer, or this script does not understand the answer, the job counts as
# running, and Snakemake asks again at the next poll. If the scheduler says that there is no such
# job, it counts as failed, and Snakemake tries it again.
set -u
scheduler=$1 id=$2
# LSF and SGE may learn of a job some seconds late. They are asked again after this many seconds.
pause=${STATUS_PAUSE:-30}
export LC_ALL=C  # the messages below are English

# Runs a command. The answer is all that it prints, with errors.
ask() { answer=$("$@" 2>&1); }
# Whether a whole line of the answer matches a pattern.
says() { printf '%s\n' "$answer" | grep -Eqx "$1"; }
# Prints the state, by one pattern for success and one for failure.
judge() {
  if says "$1"; then echo success; elif says "$2"; then echo failed; else echo running; fi
}

case $scheduler in
pbs)
  # PBS knows jobs that have ended only if it keeps a history of them (job_history_enable).
  ask qstat -x -f "$id"
  if says ' *job_state = F'; then
    # A job that was deleted before it ran has no Exit_status.
    judge ' *Exit_status = 0' '.*'
  elif says 'qstat: Unknown Job Id.*'; then
    echo failed
  else
    echo running
  fi
  ;;
lsf)
  # A query may be answered by a process that learns of new jobs some seconds late.
  unknown="Job <$id> is not found"
  ask bjobs -noheader -o stat "$id"
  if says "$unknown"; then sleep "$pause"; ask bjobs -noheader -o stat "$id"; fi
  judge 'DONE *' "EXIT *|$unknown"
  ;;
sge)
  # Some seconds after its end, a job is in the accounting file alone. A job that was deleted
  # before it ran may never get there.
  unknown="error: job id $id not found *"
  ask qstat -j "$id"
  says 'Following jobs do not exist.*' || { echo running && exit; }
  ask qacct -j "$id"
  if says "$unknown"; then sleep "$pause"; ask qacct -j "$id"; fi
  # A job that was started again has several records, and the last one counts.
  says "$unknown" || answer=$(printf '%s\n' "$answer" |
    awk '$1 == "failed" {bad = $2} $1 == "exit_status" {print bad == 0 && $2 == 0}' | tail -n 1)
  judge 1 "0|$unknown"
  ;;
slurm)
  # A PREEMPTED job was cancelled; if SLURM had queued it again, it would be PENDING. A REVOKED job
  # counts as running, because another cluster of a federation runs it.
  ask squeue --noheader --states=all --format=%T --jobs="$id"
  ended="BOOT_FAIL|CANCELLED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|TIMEOUT"
  judge COMPLETED "$ended|.*Invalid job id specified"
  ;;
*)
  echo "status.sh: scheduler is '$scheduler', expected pbs, lsf, sge or slurm" >&2
  exit 2
  ;;
esac
