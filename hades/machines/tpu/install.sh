set -eu
export PATH="$HOME/.local/bin:$PATH"
venv="$HOME/hades/venv/%{label}"
if [ ! -f "$venv/installed" ]; then
  command -v uv >/dev/null || python3 -m pip install --user --quiet uv
  rm -rf "$venv"
  mkdir -p "$HOME/hades/venv"
  uv venv --quiet --python %{python} "$venv"
  uv pip install --quiet --python "$venv/bin/python" "%{requirement}"
  touch "$venv/installed"
fi
echo "hades-worker $(hostname) installed"
