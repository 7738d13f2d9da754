#!/usr/bin/env bash
# Build what the image holds without a Docker engine: docker/container_steps.sh FOLDER
# FOLDER must be empty. A test holds each `step` to be the same as the RUN of Dockerfile at that place.
set -euo pipefail

root=${1:?"say an empty folder"}
context=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$root"
root=$(cd "$root" && pwd)
[ -z "$(ls -A "$root")" ] || { echo "$root is not empty" >&2; exit 1; }

# The context: what Dockerfile.dockerignore lets through ("!path"), without the names it takes out again ("**/name").
mkdir "$root/src"
sed -n 's/^!//p' "$context/docker/Dockerfile.dockerignore" | while read -r path; do
  cp -R "$context/$path" "$root/src/"
done
sed -n 's/^\*\*\///p' "$context/docker/Dockerfile.dockerignore" | while read -r name; do
  find "$root/src" -name "$name" -prune -exec rm -rf {} +
done

export VENV="$root/opt/connector" DATA="$root/data"
cd "$root/src"

step() {
  echo "RUN $1"
  sh -ec "$1"
}

step 'python3 -m venv "$VENV"'
step '"$VENV/bin/python" -m pip install --disable-pip-version-check --no-cache-dir --quiet --constraint constraints.txt .'
step 'mkdir -p "$DATA" && chmod 0700 "$DATA"'
step '"$VENV/bin/connector" --version'
