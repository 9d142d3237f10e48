# 1. Is the run finished?
gcloud storage ls gs://my-bucket/runs/hopper/result.json --quiet

# 2. Is there a queued resource? Created where not, waited for until ACTIVE
gcloud compute tpus queued-resources describe hopper-2 --format=json --zone=europe-west4-b --project=my-project --quiet
gcloud compute tpus queued-resources create hopper-2 --node-id=hopper-2 --accelerator-type=v6e-64 --runtime-version=v2-alpha-tpuv6e --spot --network=mine --labels=team=rl,run=2 --zone=europe-west4-b --project=my-project --quiet

# 3. How many workers, and what are they doing?
gcloud compute tpus tpu-vm describe hopper-2 --format=json --zone=europe-west4-b --project=my-project --quiet
gcloud compute tpus tpu-vm ssh hopper-2 --worker=all --ssh-flag=-oServerAliveInterval=20 --ssh-flag=-oServerAliveCountMax=3 '--command=cd "$HOME/hades/runs/hopper-8c8cb123" 2>/dev/null || { echo "hades-worker $(hostname) absent"; exit 0; }
if ! flock --nonblock lock true; then echo "hades-worker $(hostname) running"
elif [ -f status ]; then echo "hades-worker $(hostname) ended $(cat status)"
elif [ -f pid ]; then echo "hades-worker $(hostname) lost"
else echo "hades-worker $(hostname) absent"
fi
' --zone=europe-west4-b --project=my-project --quiet

# 4. The package, where it is not installed
git -C /checkout archive --format=tar.gz --prefix=hades-0123456789ab/ --output=/tmp/hades-0123456789ab.tar.gz 0123456789abcdef0123456789abcdef01234567
gcloud compute tpus tpu-vm scp /tmp/hades-0123456789ab.tar.gz hopper-2:hades-0123456789ab.tar.gz --worker=all --zone=europe-west4-b --project=my-project --quiet
gcloud compute tpus tpu-vm ssh hopper-2 --worker=all --ssh-flag=-oServerAliveInterval=20 --ssh-flag=-oServerAliveCountMax=3 '--command=set -eu
export PATH="$HOME/.local/bin:$PATH"
venv="$HOME/hades/venv/0123456789ab"
if [ ! -f "$venv/installed" ]; then
  command -v uv >/dev/null || python3 -m pip install --user --quiet uv
  rm -rf "$venv"
  mkdir -p "$HOME/hades/venv"
  uv venv --quiet --python 3.12 "$venv"
  uv pip install --quiet --python "$venv/bin/python" "hades-rl[tpu] @ file://$HOME/hades-0123456789ab.tar.gz"
  touch "$venv/installed"
fi
echo "hades-worker $(hostname) installed"
' --zone=europe-west4-b --project=my-project --quiet

# 5. The bucket, where it is not mounted
gcloud compute tpus tpu-vm ssh hopper-2 --worker=all --ssh-flag=-oServerAliveInterval=20 --ssh-flag=-oServerAliveCountMax=3 '--command=set -eu
if ! mountpoint -q /mnt/hades; then
  if ! command -v gcsfuse >/dev/null; then
    curl -fsS https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee /usr/share/keyrings/cloud.google.asc >/dev/null
    echo "deb [signed-by=/usr/share/keyrings/cloud.google.asc] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -c -s) main" \
      | sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
    sudo apt-get -o DPkg::Lock::Timeout=300 update -qq
    sudo apt-get -o DPkg::Lock::Timeout=300 install -y -qq gcsfuse
  fi
  sudo mkdir -p /mnt/hades
  sudo chown "$(id -u):$(id -g)" /mnt/hades
  gcsfuse --implicit-dirs --rename-dir-limit=200000 --metadata-cache-ttl-secs=0 \
    --metadata-cache-negative-ttl-secs=0 my-bucket /mnt/hades
fi
echo "hades-worker $(hostname) mounted"
' --zone=europe-west4-b --project=my-project --quiet

# 6. The training, where it is not running
gcloud compute tpus tpu-vm ssh hopper-2 --worker=all --ssh-flag=-oServerAliveInterval=20 --ssh-flag=-oServerAliveCountMax=3 '--command=set -eu
mkdir -p "$HOME/hades/runs/hopper-8c8cb123"
cd "$HOME/hades/runs/hopper-8c8cb123"
if [ -f "$HOME/hopper-8c8cb123.gin" ]; then cp "$HOME/hopper-8c8cb123.gin" config.gin; fi
if flock --nonblock lock true; then
  rm -f status
  if [ -f log ]; then cat log >> log.before; rm log; fi
  PYTHONUNBUFFERED=1 setsid nohup flock --wait 5 lock bash -c '"'"'trap : TERM INT; echo $$ > pid; "$@"; echo $? > status.new; mv status.new status'"'"' hades-run \
    ../../venv/0123456789ab/bin/hades-train --config=hopper_hades_r --workdir=/mnt/hades/runs/hopper '"'"'--gin_bindings=A.b = '"'"'"'"'"'"'"'"'it\'"'"'"'"'"'"'"'"'s $5'"'"'"'"'"'"'"'"''"'"' '"'"'--gin_bindings=C.d = 1'"'"' --distributed \
    >> log 2>&1 < /dev/null &
  for attempt in $(seq 100); do
    if [ -f status ] || ! flock --nonblock lock true; then break; fi
    sleep 0.1
  done
fi
echo "hades-worker $(hostname) started"
' --zone=europe-west4-b --project=my-project --quiet

# 7. Its log, again and again until it ends
gcloud compute tpus tpu-vm ssh hopper-2 --worker=0 --ssh-flag=-oServerAliveInterval=20 --ssh-flag=-oServerAliveCountMax=3 '--command=cd "$HOME/hades/runs/hopper-8c8cb123" && timeout 600 \
  tail --pid="$(cat pid)" --sleep-interval=0.5 --lines=+1 -F log 2>/dev/null | sed --unbuffered '"'"'s/^/| /'"'"'
' --zone=europe-west4-b --project=my-project --quiet

# 8. After a preemption, before all of this again
gcloud compute tpus queued-resources delete hopper-2 --force --zone=europe-west4-b --project=my-project --quiet
