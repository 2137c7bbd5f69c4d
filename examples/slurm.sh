#!/bin/bash
# One run on several nodes: sbatch examples/slurm.sh DATA OUT [settings of openjepa pretrain]
# DATA must be readable from every node; OUT is written by the first process alone.
# The job gets a signal five minutes before its time ends, and puts itself back into the queue: every start continues
# from the last checkpoint, with as many nodes as it is given.
#SBATCH --job-name=openjepa
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -u
data=$1 out=$2
shift 2
[ -f "$out/config.json" ] && set -- "$@" --resume

# Seconds that torchrun gives its processes after SIGTERM to write their checkpoint, less than the five minutes above.
# PyTorch versions that do not know it give 30.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=240
# Without this, processes that start again meet the addresses of the dead (pytorch/pytorch#135712).
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# --workers are for each process: cores of a node over its GPUs, one left for the process itself.
srun --kill-on-bad-exit torchrun \
  --nnodes="$SLURM_NNODES" --nproc-per-node=8 --max-restarts=3 \
  --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$MASTER_ADDR:29500" \
  -m openjepa pretrain "$data" --out "$out" --workers 7 "$@" &

# Bash passes no signal on by itself. The run writes a checkpoint when it gets one.
trap 'kill -TERM $!; wait $!; scontrol requeue "$SLURM_JOB_ID"' TERM
wait $!
