#!/bin/bash
# Written by hades-slurm. Submit it with: sbatch /work/runs/Hopper_2/slurm.sh
#SBATCH --job-name=hopper-2-27251a13
#SBATCH --output="/work/runs/Hopper_2/slurm-%j.log"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --ntasks=8
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --partition=gpu-long
#SBATCH --account=rl/team
#SBATCH --time=2-12:00:00
#SBATCH --signal=TERM@300
#SBATCH --constraint=h100

export PYTHONUNBUFFERED=1
module load cuda/12.8
source "$HOME/hades/.venv/bin/activate"

if ! command -v hades-train > /dev/null; then
  echo "hades-slurm: hades-train is not on PATH on $(hostname): give --setup='source .../bin/activate'." >&2
  exit 127
fi

export HADES_NOTES=/work/runs/Hopper_2/slurm/"$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"
mkdir -p "$HADES_NOTES"
told_to_end=
trap 'told_to_end=yes' TERM

task='
trap "kill -TERM \$child" TERM
"$@" &
child=$!
while :; do
  wait "$child"
  status=$?
  [ "$status" -gt 128 ] && kill -0 "$child" 2>/dev/null || break
done
echo "$status" > "$HADES_NOTES/$SLURM_PROCID"
exit "$status"
'
srun --kill-on-bad-exit=1 --cpus-per-task=8 bash -c "$task" hades-task \
  hades-train --config=/work/mine.gin --workdir=/work/runs/Hopper_2 '--gin_bindings=A.b = '"'"'it\'"'"'s $5'"'"'' '--gin_bindings=C.d = 1' --distributed
of_srun=$?

# What became of the run: a failure of one task outweighs the others, which it leaves interrupted or lost.
outcome=0 noted=0 waited=0
for ((task_id = 0; task_id < 8; task_id++)); do
  until [ -s "$HADES_NOTES/$task_id" ] || [ "$waited" -ge 30 ]; do
    sleep 1
    waited=$((waited + 1))
  done
  status=76
  if [ -s "$HADES_NOTES/$task_id" ]; then
    status=$(cat "$HADES_NOTES/$task_id")
    noted=$((noted + 1))
  fi
  if [ "$status" -gt 128 ]; then status=76; fi # killed
  case "$status" in
    0) ;;
    75) if [ "$outcome" = 0 ]; then outcome=75; fi ;;
    76) if [ "$outcome" = 0 ] || [ "$outcome" = 75 ]; then outcome=76; fi ;;
    *) outcome=$status ;;
  esac
done
if [ "$noted" = 0 ]; then outcome=$of_srun; fi # nothing ran
if [ "$outcome" -gt 128 ]; then outcome=76; fi

again="Run hades-slurm again to continue."
if [ "$outcome" = 75 ] || [ "$outcome" = 76 ]; then
  if [ -n "$told_to_end" ]; then
    echo "hades-slurm: ended with $outcome by scancel, preemption or the time limit. $again"
  elif [ "${SLURM_RESTART_COUNT:-0}" -ge 40 ]; then
    echo "hades-slurm: ended with $outcome after 40 restarts (--max_restarts). $again"
  elif scontrol requeue "$SLURM_JOB_ID"; then
    echo "hades-slurm: ended with $outcome; requeued, restart $((${SLURM_RESTART_COUNT:-0} + 1)) of 40."
    exit 0
  else
    echo "hades-slurm: ended with $outcome, and this cluster does not requeue jobs. $again" >&2
  fi
elif [ "$outcome" != 0 ]; then
  echo "hades-slurm: failed with $outcome; not started again. Mend the reason and run hades-slurm again." >&2
fi
exit "$outcome"
