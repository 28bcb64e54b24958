#!/usr/bin/env bash
# One training run on Slurm: the first node learns and collects, the others collect.
#
#   sbatch docker/cluster/slurm.sh --preset sac --out runs/sac
#
# Submitted in a checkout of rl_edge that all nodes see, with tools/env --with ray set up there.
# A job that ran out of time goes on by: sbatch docker/cluster/slurm.sh --resume runs/sac
#SBATCH --job-name=rl_edge
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --signal=B:INT@120
set -euo pipefail

port=6379
export RL_EDGE_SKIP_CHECK=1 RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(tr -dc 'a-f0-9' </dev/urandom | head -c 64 || true)
export RAY_AUTH_TOKEN

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_address=$(srun --nodes=1 --ntasks=1 -w "${nodes[0]}" hostname --ip-address | cut -d' ' -f1)

# Each `ray start --block` lives in a step of its own and ends with the job.
srun --nodes=1 --ntasks=1 --overlap -w "${nodes[0]}" tools/env --with ray \
  ray start --head --node-ip-address="$head_address" --port="$port" --include-dashboard=false \
  --disable-usage-stats --num-cpus="$((SLURM_CPUS_PER_TASK - 1))" --block &
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --overlap -w "$node" tools/env --with ray \
    ray start --address="$head_address:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
done

# Wait until every node is there.
srun --nodes=1 --ntasks=1 --overlap -w "${nodes[0]}" tools/env --with ray \
  python -m rl_edge_core.cluster wait "$head_address:$port" "${#nodes[@]}"

# Slurm interrupts this script two minutes before the time is up: the run saves itself.
srun --nodes=1 --ntasks=1 --overlap -w "${nodes[0]}" tools/env --with ray \
  python -m rl_edge_train train "$@" --cluster "$head_address:$port" &
training=$!
trap 'kill -INT "$training"' INT TERM
status=0
wait "$training" || status=$?
# A signal ends the first wait: the run is still saving then.
if kill -0 "$training" 2>/dev/null; then wait "$training" || status=$?; fi
exit "$status"
