cd "$HOME/hades/runs/%{name}" && timeout %{seconds} \
  tail --pid="$(cat pid)" --sleep-interval=0.5 --lines=+%{first_line} -F log 2>/dev/null | sed --unbuffered 's/^/| /'
