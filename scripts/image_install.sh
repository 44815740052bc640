#!/usr/bin/env bash
# Install the provider into an environment that has Airflow already (Airflow's container image), without moving any version that is there.
#
#   scripts/image_install.sh FOLDER_OF_THE_SOURCE [EXTRAS]
set -euo pipefail
source_folder="${1:?folder of the source}"
extras="${2:-s3}"
python="${PYTHON:-python}"
installed="$(mktemp)"
trap 'rm -f "$installed"' EXIT
# What is installed becomes the constraints: pip has next to nothing to resolve, and Airflow stays as it was tested.
"$python" -m pip list --format freeze | grep -v -i '^airflow-provider-tenable==' > "$installed"
"$python" -m pip install --no-cache-dir --disable-pip-version-check --constraint "$installed" "${source_folder}[${extras}]"
"$python" -m pip check
