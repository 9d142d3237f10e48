cd "$HOME/hades/runs/%{name}" 2>/dev/null || { echo "hades-worker $(hostname) absent"; exit 0; }
if ! flock --nonblock lock true; then echo "hades-worker $(hostname) running"
elif [ -f status ]; then echo "hades-worker $(hostname) ended $(cat status)"
elif [ -f pid ]; then echo "hades-worker $(hostname) lost"
else echo "hades-worker $(hostname) absent"
fi
