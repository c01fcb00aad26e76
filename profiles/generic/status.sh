#!/bin/sh
# Print what a job is, `running` (or waiting), `success` or `failed`:
#   status.sh SCHEDULER ID
# A scheduler that does not answer is asked again at the next poll: the job counts as running. So
# does anything not understood here. Where the answer is that there is no such job, nothing more
# will be heard of it: failed, and Snakemake tries again.
set -u
scheduler=$1 id=$2
# What a scheduler knows a little late is asked for again after so many seconds.
pause=${STATUS_PAUSE:-30}
export LC_ALL=C  # the messages below are English

# An answer is all that a command prints, errors too.
ask() { answer=$("$@" 2>&1); }
# Whether a line of it is, as a whole, what a pattern describes.
says() { printf '%s\n' "$answer" | grep -Eqx "$1"; }
# By the patterns of a success and of a failure.
judge() {
  if says "$1"; then echo success; elif says "$2"; then echo failed; else echo running; fi
}

case $scheduler in
pbs)
  # Of jobs that have ended PBS knows where it keeps a history of them (job_history_enable).
  ask qstat -x -f "$id"
  if says ' *job_state = F'; then
    # There is no Exit_status of a job deleted before it ran.
    judge ' *Exit_status = 0' '.*'
  elif says 'qstat: Unknown Job Id.*'; then
    echo failed
  else
    echo running
  fi
  ;;
lsf)
  # Queries may be answered by a process that learns of new jobs some seconds later.
  unknown="Job <$id> is not found"
  ask bjobs -noheader -o stat "$id"
  if says "$unknown"; then sleep "$pause"; ask bjobs -noheader -o stat "$id"; fi
  judge 'DONE *' "EXIT *|$unknown"
  ;;
sge)
  # A job that has ended is in the accounting file alone, some seconds later; one that was deleted
  # before it ran may never be there.
  unknown="error: job id $id not found *"
  ask qstat -j "$id"
  says 'Following jobs do not exist.*' || { echo running && exit; }
  ask qacct -j "$id"
  if says "$unknown"; then sleep "$pause"; ask qacct -j "$id"; fi
  # Of a job that was started again there are several records, and the last one counts.
  says "$unknown" || answer=$(printf '%s\n' "$answer" |
    awk '$1 == "failed" {bad = $2} $1 == "exit_status" {print bad == 0 && $2 == 0}' | tail -n 1)
  judge 1 "0|$unknown"
  ;;
slurm)
  # PREEMPTED is one that was cancelled (queued again, it is PENDING). REVOKED is none of these:
  # in a federation, the job runs on another cluster.
  ask squeue --noheader --states=all --format=%T --jobs="$id"
  ended="BOOT_FAIL|CANCELLED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|TIMEOUT"
  judge COMPLETED "$ended|.*Invalid job id specified"
  ;;
*)
  echo "status.sh: scheduler is '$scheduler', expected pbs, lsf, sge or slurm" >&2
  exit 2
  ;;
esac
