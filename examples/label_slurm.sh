#!/bin/bash
# Labels a dataset in the tasks of a Slurm array, each on a machine of its own, then merges what they wrote:
#
#   tasks=$(sbatch --parsable --array=1-8 examples/label_slurm.sh DATA OUT)
#   sbatch --dependency=afterok:$tasks --wrap "genie label DATA --merge --out OUT"
#
# DATA and OUT are on a file system that all machines share. A task that was stopped is run again with the same numbers
# (sbatch --array=1-8 once more does no finished episode again). The array must be 1-N: the tasks are the shards.
#SBATCH --job-name=genie-label
#SBATCH --array=1-8
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=8G
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail

data=${1:?usage: sbatch label_slurm.sh DATA OUT}
out=${2:?usage: sbatch label_slurm.sh DATA OUT}

# `genie label` starts a server of its own here; with a GPU the service finds it.
exec genie label "$data" --out "$out" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --skip-bad
