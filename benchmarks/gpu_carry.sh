#!/bin/sh
# A folder with all that gpu.py reads: photographs without metadata (jpegtran -optimize -progressive changes no pixel),
# the parity files and, where pip can fetch it, a wheel of lightly.
#   sh benchmarks/gpu_carry.sh PHOTOS.zip PARITY CARRY
set -eu
[ $# -eq 3 ] || { echo "usage: sh benchmarks/gpu_carry.sh PHOTOS.zip PARITY CARRY" >&2; exit 2; }
command -v jpegtran >/dev/null || { echo "jpegtran is missing: install libjpeg-turbo (Debian: libjpeg-turbo-progs)" >&2; exit 2; }
photos=$(realpath "$1") parity=$(realpath "$2") carry=$3
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$carry/parity" "$carry/wheels"
carry=$(realpath "$carry")
"$python" -m zipfile -e "$photos" "$work"
cd "$work"
find . -name '*.jp*g' -print0 | xargs -0 -P "$(nproc)" -n 200 sh -c '
  for file; do jpegtran -optimize -progressive -copy none "$file" > "$file.new" && mv "$file.new" "$file"; done' jpegtran
tar -czf "$carry/photos.tar.gz" --sort=name --owner=0 --group=0 -- *
cp "$parity"/official_tiny* "$carry/parity/"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: -d "$carry/wheels" lightly lightly-utils 2>/dev/null ||
  echo "lightly could not be fetched: the speed is measured without it" >&2
chmod -R u+w "$carry"
du -sh "$carry"
