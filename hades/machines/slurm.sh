#!/bin/bash
# Written by hades-slurm. Submit it with: sbatch %{script}
%{directives}

export PYTHONUNBUFFERED=1
%{setup}
if ! command -v hades-train > /dev/null; then
  echo "hades-slurm: hades-train is not on PATH on $(hostname): give --setup='source .../bin/activate'." >&2
  exit 127
fi

export HADES_NOTES=%{notes}/"$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"
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
srun --kill-on-bad-exit=1 %{cpus}bash -c "$task" hades-task \
  %{words}
of_srun=$?

# What became of the run: a failure of one task outweighs the others, which it leaves interrupted or lost.
outcome=%{finished} noted=0 waited=0
for ((task_id = 0; task_id < %{tasks}; task_id++)); do
  until [ -s "$HADES_NOTES/$task_id" ] || [ "$waited" -ge %{patience} ]; do
    sleep 1
    waited=$((waited + 1))
  done
  status=%{lost}
  if [ -s "$HADES_NOTES/$task_id" ]; then
    status=$(cat "$HADES_NOTES/$task_id")
    noted=$((noted + 1))
  fi
  if [ "$status" -gt 128 ]; then status=%{lost}; fi # killed
  case "$status" in
    %{finished}) ;;
    %{interrupted}) if [ "$outcome" = %{finished} ]; then outcome=%{interrupted}; fi ;;
    %{lost}) if [ "$outcome" = %{finished} ] || [ "$outcome" = %{interrupted} ]; then outcome=%{lost}; fi ;;
    *) outcome=$status ;;
  esac
done
if [ "$noted" = 0 ]; then outcome=$of_srun; fi # nothing ran
if [ "$outcome" -gt 128 ]; then outcome=%{lost}; fi

again="Run hades-slurm again to continue."
if [ "$outcome" = %{interrupted} ] || [ "$outcome" = %{lost} ]; then
  if [ -n "$told_to_end" ]; then
    echo "hades-slurm: ended with $outcome by scancel, preemption or the time limit. $again"
  elif [ "${SLURM_RESTART_COUNT:-0}" -ge %{max_restarts} ]; then
    echo "hades-slurm: ended with $outcome after %{max_restarts} restarts (--max_restarts). $again"
  elif scontrol requeue "$SLURM_JOB_ID"; then
    echo "hades-slurm: ended with $outcome; requeued, restart $((${SLURM_RESTART_COUNT:-0} + 1)) of %{max_restarts}."
    exit 0
  else
    echo "hades-slurm: ended with $outcome, and this cluster does not requeue jobs. $again" >&2
  fi
elif [ "$outcome" != %{finished} ]; then
  echo "hades-slurm: failed with $outcome; not started again. Mend the reason and run hades-slurm again." >&2
fi
exit "$outcome"
