#!/bin/sh
# Runs the image that is named beside it as this host's application, and ends with it. The arguments are the
# container's command. Variables are passed by name: no value is in an argument of a process.
image=$(cat image)
if ! command -v podman >/dev/null 2>&1; then
    echo "this host has no podman, by which $image would run: install it on the machine" >&2
    exit 127
fi
if ! said=$(podman info 2>&1 >/dev/null); then
    echo "podman does not work here: $(echo "$said" | tail -n 1)" >&2
    echo "hosts of provider local must be without bubblewrap for it: local.isolation = none" >&2
    exit 126
fi
# A host that was killed has left its container: one that no process of podman waits for any more.
podman ps --all --filter label=repave.by --format '{{.ID}} {{index .Labels "repave.by"}}' |
    while read -r id by; do
        grep -qsx podman "/proc/$by/comm" || podman rm --force "$id" >/dev/null 2>&1
    done
set -- "$image" "$@"
for name in $(awk 'BEGIN { for (name in ENVIRON) if (name ~ /^[A-Za-z_][A-Za-z0-9_]*$/) print name }'); do
    case $name in
    PATH | HOME | PWD | OLDPWD | SHLVL | TMPDIR | USER | LOGNAME | SHELL | _ | AWK* | XDG_* | CONTAINERS_* | REGISTRY_AUTH_FILE) ;;
    *) set -- --env "$name" "$@" ;;
    esac
    value=$(printenv "$name")
    case $value in # a secret that is a file is at the same place inside
    */repave-secrets.*/file/"${name%_FILE}") set -- --volume "$value:$value:ro" "$@" ;;
    esac
done
if [ "${PORT:-1024}" -lt 1024 ]; then set -- --cap-add net_bind_service "$@"; fi
exec podman run --rm --name "repave-$REPAVE_HOST" --label "repave.by=$$" --network host --log-driver none \
    --security-opt no-new-privileges "$@"
