#!/usr/bin/env bash
# One run on several GPU hosts under Slurm. Starts one process per host; each uses all GPUs there.
#
#   sbatch --nodes=2 launch/jobs/slurm.sh --config=lcr_jax/configs/demo.py --workdir=/shared/runs/lcr
#
# Everything after the file's name goes to launch.main. The workdir and the dataset must be on a
# file system that all hosts share. Two minutes before the time limit Slurm sends SIGTERM: the run
# saves, and the job puts itself back into the queue, where it goes on from there.
#SBATCH --job-name=snr-jax
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

srun --kill-on-bad-exit=1 python -m launch.main --cluster "$@"
status=$?
if [ "$status" -eq 143 ]; then # stopped by SIGTERM, after saving
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
