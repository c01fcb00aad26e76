#!/bin/sh
# Submit a job script, and print the job's id and nothing else.
#   submit.sh SCHEDULER QUEUE CPUS MEMORY(MB) RUNTIME(minutes) GPUS SCRIPT
# Add what your site requires (an account, a project, a kind of GPU) to your scheduler's command.
set -eu
scheduler=$1 queue=$2 cpus=$3 memory=$4 minutes=$5 gpus=$6 script=$7
seconds=$((minutes * 60))
logs=.snakemake/cluster_logs
mkdir -p "$logs"

# If a command fails, this script ends with the same exit status and prints no id.
case $scheduler in
pbs)
  qsub -N soups -j oe -o "$logs/" -q "$queue" -l "walltime=$seconds" \
    -l "select=1:ncpus=$cpus:mem=${memory}mb:ngpus=$gpus" "$script"
  ;;
lsf)
  [ "$gpus" = 0 ] || set -- -gpu "num=$gpus"
  [ "$gpus" != 0 ] || set --
  printed=$(bsub -J soups -o "$logs/%J.log" -q "$queue" -n "$cpus" -R "span[hosts=1]" \
    -M "${memory}MB" -W "$minutes" "$@" "$script")
  echo "$printed" | sed -n 's/^Job <\([0-9]*\)>.*/\1/p'
  ;;
sge)
  # SGE counts h_vmem per slot of the parallel environment.
  qsub -terse -cwd -N soups -j y -o "$logs/" -q "$queue" -pe smp "$cpus" \
    -l "h_vmem=$((memory / cpus))M,h_rt=$seconds,gpu=$gpus" "$script"
  ;;
slurm)
  # One node, because SLURM may spread --gpus over several.
  [ "$gpus" = 0 ] || set -- "--gpus=$gpus"
  [ "$gpus" != 0 ] || set --
  printed=$(sbatch --parsable --job-name=soups --output="$logs/%j.log" --partition="$queue" \
    --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --mem="$memory" --time="$minutes" "$@" "$script")
  echo "${printed%%;*}"
  ;;
*)
  echo "submit.sh: scheduler is '$scheduler', expected pbs, lsf, sge or slurm" >&2
  exit 2
  ;;
esac
