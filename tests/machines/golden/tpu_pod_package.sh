# 1. Is there a queued resource? Created where not, waited for until ACTIVE
gcloud compute tpus queued-resources describe demo --format=json --zone=us-west4-a --quiet
gcloud compute tpus queued-resources create demo --node-id=demo --accelerator-type=v5litepod-256 --runtime-version=v2-alpha-tpuv5-lite --zone=us-west4-a --quiet

# 2. How many workers, and what are they doing?
gcloud compute tpus tpu-vm describe demo --format=json --zone=us-west4-a --quiet
gcloud compute tpus tpu-vm ssh demo --worker=all --ssh-flag=-oServerAliveInterval=20 --ssh-flag=-oServerAliveCountMax=3 '--command=cd "$HOME/hades/runs/demo-b9229c7a" 2>/dev/null || { echo "hades-worker $(hostname) absent"; exit 0; }
if ! flock --nonblock lock true; then echo "hades-worker $(hostname) running"
elif [ -f status ]; then echo "hades-worker $(hostname) ended $(cat status)"
elif [ -f pid ]; then echo "hades-worker $(hostname) lost"
else echo "hades-worker $(hostname) absent"
fi
' --zone=us-west4-a --quiet

# 3. The package, where it is not installed
gcloud compute tpus tpu-vm ssh demo --worker=all --ssh-flag=-oServerAliveInterval=20 --ssh-flag=-oServerAliveCountMax=3 '--command=set -eu
export PATH="$HOME/.local/bin:$PATH"
venv="$HOME/hades/venv/e465b7c70162"
if [ ! -f "$venv/installed" ]; then
  command -v uv >/dev/null || python3 -m pip install --user --quiet uv
  rm -rf "$venv"
  mkdir -p "$HOME/hades/venv"
  uv venv --quiet --python 3.12 "$venv"
  uv pip install --quiet --python "$venv/bin/python" "hades-rl[tpu] @ git+https://example.com/hades@v1"
  touch "$venv/installed"
fi
echo "hades-worker $(hostname) installed"
' --zone=us-west4-a --quiet

# 4. The training, where it is not running
gcloud compute tpus tpu-vm ssh demo --worker=all --ssh-flag=-oServerAliveInterval=20 --ssh-flag=-oServerAliveCountMax=3 '--command=set -eu
mkdir -p "$HOME/hades/runs/demo-b9229c7a"
cd "$HOME/hades/runs/demo-b9229c7a"
if [ -f "$HOME/demo-b9229c7a.gin" ]; then cp "$HOME/demo-b9229c7a.gin" config.gin; fi
if flock --nonblock lock true; then
  rm -f status
  if [ -f log ]; then cat log >> log.before; rm log; fi
  PYTHONUNBUFFERED=1 setsid nohup flock --wait 5 lock bash -c '"'"'trap : TERM INT; echo $$ > pid; "$@"; echo $? > status.new; mv status.new status'"'"' hades-run \
    ../../venv/e465b7c70162/bin/hades-train --config=cartpole_hades_r --workdir=/nfs/demo --distributed \
    >> log 2>&1 < /dev/null &
  for attempt in $(seq 100); do
    if [ -f status ] || ! flock --nonblock lock true; then break; fi
    sleep 0.1
  done
fi
echo "hades-worker $(hostname) started"
' --zone=us-west4-a --quiet

# 5. Its log, again and again until it ends
gcloud compute tpus tpu-vm ssh demo --worker=0 --ssh-flag=-oServerAliveInterval=20 --ssh-flag=-oServerAliveCountMax=3 '--command=cd "$HOME/hades/runs/demo-b9229c7a" && timeout 600 \
  tail --pid="$(cat pid)" --sleep-interval=0.5 --lines=+1 -F log 2>/dev/null | sed --unbuffered '"'"'s/^/| /'"'"'
' --zone=us-west4-a --quiet

# 6. After a preemption, before all of this again
gcloud compute tpus queued-resources delete demo --force --zone=us-west4-a --quiet
