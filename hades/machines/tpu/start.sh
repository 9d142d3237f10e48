set -eu
mkdir -p "$HOME/hades/runs/%{name}"
cd "$HOME/hades/runs/%{name}"
if [ -f "$HOME/%{name}.gin" ]; then cp "$HOME/%{name}.gin" config.gin; fi
if flock --nonblock lock true; then
  rm -f status
  if [ -f log ]; then cat log >> log.before; rm log; fi
  PYTHONUNBUFFERED=1 setsid nohup flock --wait 5 lock bash -c 'trap : TERM INT; echo $$ > pid; "$@"; echo $? > status.new; mv status.new status' hades-run \
    %{words} \
    >> log 2>&1 < /dev/null &
  for attempt in $(seq 100); do
    if [ -f status ] || ! flock --nonblock lock true; then break; fi
    sleep 0.1
  done
fi
echo "hades-worker $(hostname) started"
