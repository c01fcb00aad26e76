#!/bin/sh
# Print what a job is, `running` (or waiting), `success` or `failed`:
#   status.sh SCHEDULER ID
# A scheduler that does not answer is asked again at the next poll: the job counts as running.
set -u
scheduler=$1 id=$2

case $scheduler in
pbs)
  job=$(qstat -x -f "$id" 2>/dev/null)
  state=$(echo "$job" | sed -n 's/^ *job_state = //p')
  [ "$state" != F ] || state=$(echo "$job" | sed -n 's/^ *Exit_status = //p')
  case $state in 0) echo success ;; -*|[1-9]*) echo failed ;; *) echo running ;; esac
  ;;
lsf)
  state=$(bjobs -noheader -o stat "$id" 2>/dev/null)
  case $state in DONE) echo success ;; EXIT) echo failed ;; *) echo running ;; esac
  ;;
sge)
  # A job that has ended is in the accounting file alone, some seconds later.
  state=$(qacct -j "$id" 2>/dev/null |
    awk '$1 == "failed" || $1 == "exit_status" {bad += ($2 != 0); n++} END {if (n) print bad}')
  case $state in "") echo running ;; 0) echo success ;; *) echo failed ;; esac
  ;;
slurm)
  state=$(squeue --noheader --states=all --format=%T --jobs="$id" 2>/dev/null)
  case $state in
  COMPLETED) echo success ;;
  BOOT_FAIL | CANCELLED | DEADLINE | FAILED | NODE_FAIL | OUT_OF_MEMORY | TIMEOUT) echo failed ;;
  *) echo running ;;
  esac
  ;;
*)
  echo "status.sh: scheduler is '$scheduler', expected pbs, lsf, sge or slurm" >&2
  exit 2
  ;;
esac
