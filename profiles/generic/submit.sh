#!/bin/sh
# Submit a job script and print the job's id alone:
#   submit.sh SCHEDULER QUEUE CPUS MEMORY(MB) RUNTIME(minutes) GPUS SCRIPT
# What a site asks for besides (an account, a project, a kind of GPU) goes into its line.
set -eu
scheduler=$1 queue=$2 cpus=$3 memory=$4 minutes=$5 gpus=$6 script=$7
seconds=$((minutes * 60))
logs=.snakemake/cluster_logs
mkdir -p "$logs"

# A command that fails ends this script: nothing is printed then, and its status says so.
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
  # h_vmem is counted per slot of the parallel environment.
  qsub -terse -cwd -N soups -j y -o "$logs/" -q "$queue" -pe smp "$cpus" \
    -l "h_vmem=$((memory / cpus))M,h_rt=$seconds,gpu=$gpus" "$script"
  ;;
slurm)
  # One node, for --gpus may be spread over several.
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
