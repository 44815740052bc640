#!/usr/bin/env bash
# Start one component of an Airflow that runs on more than one machine, or check one that runs.
#
#   scripts/component.sh init | api-server | scheduler | dag-processor | triggerer | worker | sandbox
#   scripts/component.sh once [--conf JSON] [--seconds N]
#   scripts/component.sh import [OPTIONS OF tenable-to-security-hub]
#   scripts/component.sh check COMPONENT
#   scripts/component.sh bash | python | airflow ARGUMENTS
#
# docker-compose.yaml and the tests start everything through this file. All settings come from the environment.
# It is the image's entry point too, so it takes whatever Airflow's own image takes: the Helm chart starts
# `bash -c "exec airflow scheduler"` and the Kubernetes executor `python -m airflow...`.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="${PYTHON:-python}"
# Airflow's own entry point waits for the database and the queue, and works under any user id.
entry_point="${AIRFLOW_ENTRY_POINT:-/entrypoint}"

usage() {
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
}

# Airflow 3's own login reads its passwords from a file, which is made from the environment: no secret stands in an image or a volume.
write_password() {
    if [ -n "${AIRFLOW_ADMIN_PASSWORD:-}" ]; then
        umask 077
        "$python" -c 'import json, os, sys; json.dump({"admin": os.environ["AIRFLOW_ADMIN_PASSWORD"]}, open(sys.argv[1], "w"))' \
            "$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
    fi
}

check() {
    case "$1" in
        api-server) "$python" "$here/answers.py" "http://127.0.0.1:${AIRFLOW__API__PORT:-8080}/api/v2/version" ;;
        scheduler) "$python" "$here/answers.py" "http://127.0.0.1:${AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT:-8974}/health" ;;
        dag-processor) airflow jobs check --job-type DagProcessorJob --local ;;
        triggerer) airflow jobs check --job-type TriggererJob --local ;;
        worker) celery --app airflow.providers.celery.executors.celery_executor.app inspect ping --timeout 10 -d "celery@${WORKER_NAME:-$(hostname)}" ;;
        sandbox)
            "$python" "$here/answers.py" "http://127.0.0.1:${SANDBOX_TENABLE_PORT:-8741}/_sandbox/clock" \
                "http://127.0.0.1:${SANDBOX_AWS_PORT:-8742}/_sandbox/summary"
            ;;
        *)
            echo "There is nothing to check for '$1'." >&2
            exit 64
            ;;
    esac
}

component="${1:-}"
shift || true
case "$component" in
    init)
        airflow db migrate
        exec "$python" "$here/staging_bucket.py"
        ;;
    api-server)
        write_password
        exec airflow api-server "$@"
        ;;
    scheduler) exec airflow scheduler "$@" ;;
    dag-processor) exec airflow dag-processor "$@" ;;
    triggerer) exec airflow triggerer "$@" ;;
    worker) exec airflow celery worker --celery-hostname "celery@${WORKER_NAME:-$(hostname)}" "$@" ;;
    sandbox)
        if [ ! -e "$here/open_sandbox.py" ]; then
            echo "This image has no sandbox. Build the target that has it:" \
                "docker build --target sandbox -f deploy/docker/Dockerfile ." >&2
            exit 64
        fi
        exec "$python" "$here/open_sandbox.py" "$@"
        ;;
    once) exec "$python" "$here/run_once.py" "$@" ;;
    import) exec "$python" -m airflow_provider_tenable.command "$@" ;;
    check) check "${1:?which component?}" ;;
    "")
        usage
        exit 64
        ;;
    *)
        if [ -x "$entry_point" ]; then
            exec "$entry_point" "$component" "$@"
        fi
        case "$component" in
            bash | python | airflow) exec "$component" "$@" ;;
        esac
        usage
        exit 64
        ;;
esac
