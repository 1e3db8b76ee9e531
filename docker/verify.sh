#!/usr/bin/env bash
# Builds the image, runs the demo in it twice and once outside, and compares: the shards must be the same byte for
# byte, and the test scores equal. Needs a docker engine, or buildah; where the base image cannot be pulled, also
# debootstrap and root, to make a Debian 12 base.
#
#   docker/verify.sh [--variant cpu|cuda] [--clips N] [--base IMAGE] [--folder DIR] [--keep]
#
# PYTHON: the interpreter outside (.venv/bin/python). BUILD_OPTIONS: more options for the build, such as
# "--build-arg PIP_INDEX_URL=…". --keep leaves DIR with image and results; else it is removed.
set -euo pipefail
cd "$(dirname "$0")/.."

variant=cpu clips=20 base=python:3.11-slim-bookworm folder= keep=
while [ $# -gt 0 ]; do
    case $1 in
    --variant) variant=$2 && shift 2 ;;
    --clips) clips=$2 && shift 2 ;;
    --base) base=$2 && shift 2 ;;
    --folder) folder=$2 && shift 2 ;;
    --keep) keep=yes && shift ;;
    *) echo "verify.sh: $1 is unknown; see the head of the script" >&2 && exit 2 ;;
    esac
done
folder=${folder:-$(mktemp -d)}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=${PYTHON:-.venv/bin/python}
image=stgcma-verify:$variant
read -ra build_options <<<"${BUILD_OPTIONS:-}"

say() { echo "verify: $*" >&2; }

# One storage of its own, so that nothing else is touched and all of it can be removed.
own_buildah() { buildah --root "$folder/storage" --runroot "$folder/runroot" --storage-driver vfs "$@"; }

clean() {
    [ -z "$engine_container" ] || own_buildah rm "$engine_container" >/dev/null
    [ -z "$keep" ] || return 0
    if [ "$engine" = docker ]; then
        docker image rm "$image" >/dev/null 2>&1 || true
    else
        own_buildah rmi --all --force >/dev/null 2>&1 || true
    fi
    rm -rf "$folder"
}

make_base() {
    say "$base cannot be pulled; making a Debian 12 base"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$folder/debian" >&2
    rm -rf "$folder"/debian/var/cache/apt/archives/*.deb "$folder"/debian/var/lib/apt/lists/*
    local container
    container=$(own_buildah from scratch)
    own_buildah add -q "$container" "$folder/debian" / >/dev/null
    base=localhost/stgcma-base
    own_buildah commit -q --rm "$container" "$base" >/dev/null
    rm -rf "$folder/debian"
}

build() {
    if [ "$engine" = docker ]; then
        docker build -f docker/Dockerfile -t "$image" --build-arg "BASE=$base" \
            --build-arg "VARIANT=$variant" "${build_options[@]}" . >&2
    else
        own_buildah pull -q "$base" >/dev/null 2>&1 || make_base
        own_buildah build --isolation chroot --layers=false --format docker -f docker/Dockerfile -t "$image" \
            --build-arg "BASE=$base" --build-arg "VARIANT=$variant" "${build_options[@]}" . >&2
    fi
}

size_bytes() {
    if [ "$engine" = docker ]; then
        docker image inspect --format '{{.Size}}' "$image"
    else
        local mounted
        mounted=$(own_buildah mount "$engine_container")
        du -s --block-size=1 "$mounted" | cut -f1
        own_buildah umount "$engine_container" >/dev/null
    fi
}

# Files that root makes could not be removed by others, and root would hide what needs its rights.
user=$(id -u)
[ "$user" != 0 ] || user=1000

inside() { # FOLDER ARGUMENTS…: stgcma in the image, with FOLDER as /work
    local mounted=$1
    shift
    if [ "$engine" = docker ]; then
        docker run --rm --user "$user" --shm-size 2g -v "$mounted:/work" "$image" "$@"
    else
        own_buildah run --isolation chroot --user "$user" -v "$mounted:/work" "$engine_container" stgcma "$@"
    fi
}

shards_sha256() { # of every file's name and content
    (cd "$1"/shards-* && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

score() {
    "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["score"])' "$1"/run-*/evaluation-test.json
}

engine_container=
engine=docker
docker info >/dev/null 2>&1 || engine=buildah
trap clean EXIT

say "building with $engine"
build
[ "$engine" = docker ] || engine_container=$(own_buildah from "$image")
echo "image $(($(size_bytes) / 1000000)) MB"
mkdir -m 777 "$folder/doctor"
inside "$folder/doctor" doctor || say "doctor found problems"

for run in first second; do
    mkdir -m 777 "$folder/$run"
    say "demo in the image, $run time"
    inside "$folder/$run" demo --workdir /work --clips "$clips" >&2
done
mkdir "$folder/outside"
say "demo outside"
"$python" -m stgcma demo --workdir "$folder/outside" --clips "$clips" >&2

failed=
reference=
for run in first second outside; do
    result="shards $(shards_sha256 "$folder/$run") score $(score "$folder/$run")"
    echo "$run: $result"
    reference=${reference:-$result}
    [ "$result" = "$reference" ] || failed=yes
done
[ -z "$failed" ] || { say "they differ" && exit 1; }
say "all the same"
