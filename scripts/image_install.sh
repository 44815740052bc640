#!/usr/bin/env bash
# Install the provider into an environment that has Airflow already (Airflow's container image), without moving any version that is there.
#
#   scripts/image_install.sh FOLDER_OF_THE_SOURCE
set -euo pipefail
source_folder="${1:?folder of the source}"
python="${PYTHON:-python}"
installed="$(mktemp)"
trap 'rm -f "$installed"' EXIT
# What is installed becomes the constraints: pip has next to nothing to resolve, and Airflow stays as it was tested.
"$python" -m pip list --format freeze | grep -v -i '^airflow-provider-tenable==' > "$installed"
"$python" -m pip install --no-cache-dir --disable-pip-version-check --constraint "$installed" "${source_folder}[s3,sandbox]"
"$python" -m pip check
