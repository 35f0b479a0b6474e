#!/usr/bin/env bash
# One run on all hosts of a Cloud TPU slice, without Kubernetes. Starts the same command on every
# host through ssh; the hosts find each other by the TPU's own metadata.
#
#   launch/jobs/tpu_vm.sh NAME ZONE DIR --config=lcr_jax/configs/demo.py --workdir=/mnt/runs/lcr
#
# NAME  of the TPU; ZONE  where it is; DIR  this project's folder on every host, with its virtual
# environment in DIR/.venv. The workdir and the dataset must be on a disk that all hosts share (a
# mounted Filestore). After a preemption start it again: the run goes on.
set -euo pipefail

if [ "$#" -lt 4 ]; then
    sed -n '2,11p' "$0" >&2
    exit 2
fi
name=$1 zone=$2 folder=$3
shift 3
command="cd $(printf %q "$folder") && .venv/bin/python -m launch.main --cluster$(printf ' %q' "$@")"
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$command"
