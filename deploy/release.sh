#!/usr/bin/env bash
# Makes what a release consists of. The version is that of the commit's tag, which
# Go stamps into the binary; the same commit and Go make the same bytes again.
#
#   deploy/release.sh all DIRECTORY [SYSTEM/ARCHITECTURE ...]   archives, SBOM, SHA256SUMS
#   deploy/release.sh binary FILE                               one binary for GOOS and GOARCH
set -euo pipefail
cd "$(dirname "$0")/.."

name=nodestore-migrate
# The tool that lists what the binary is made of; it is run from its module.
sbom=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

fail() {
  printf 'release.sh: %s\n' "$1" >&2
  exit 2
}

# binary FILE [FLAG ...] leaves the demo out: its servers come by Maven, which users
# of a release may not have.
binary() {
  CGO_ENABLED=0 go build -trimpath -tags nodemo -ldflags=-s "${@:2}" -o "$1" .
}

# archive DIRECTORY SYSTEM ARCHITECTURE packs a binary with what is read and sourced.
archive() {
  local out=$1 base=$name-$version-$2-$3
  local folder=$work/$base
  mkdir -p "$folder/completion"
  GOOS=$2 GOARCH=$3 binary "$folder/$name" -buildvcs=true
  cp LICENSE README.md CHANGELOG.md "$folder"
  cp "$work"/completion/* "$folder/completion"
  tar --directory "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$made" --create "$base" | gzip -9n >"$out/$base.tar.gz"
}

all() {
  local out=$1
  shift
  [ $# -gt 0 ] || set -- linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
  mkdir -p "$out"
  [ -z "$(ls -A "$out")" ] || fail "$out is not empty: name an empty folder"
  out=$(cd "$out" && pwd)
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  made=$(git log -1 --format=%ct)

  # The completion files and the version are said by a binary that runs here.
  (unset GOOS GOARCH && binary "$work/$name" -buildvcs=true)
  version=$("$work/$name" version | cut -d ' ' -f 2)
  version=${version//[()]/} # (devel): Go stamps no worktree
  mkdir "$work/completion"
  local shell system
  for shell in bash zsh fish; do
    "$work/$name" completion "$shell" >"$work/completion/$name.$shell"
  done

  for system in "$@"; do
    [[ $system =~ ^[a-z]+/[a-z0-9]+$ ]] || fail "$system is not SYSTEM/ARCHITECTURE, such as linux/amd64"
    archive "$out" "${system%/*}" "${system#*/}"
  done
  go run "$sbom" bin -json -licenses -noserial -version "$version" -output "$out/$name-$version.cdx.json" "$work/$name"
  (cd "$out" && sha256sum -- *.tar.gz *.cdx.json >SHA256SUMS)
  ls -l "$out"
}

case ${1-} in
  all)
    [ $# -ge 2 ] || fail 'all: name the folder for the archives'
    all "${@:2}"
    ;;
  binary)
    [ $# -eq 2 ] || fail 'binary: name the file to write'
    binary "$2"
    ;;
  *) fail 'say all DIRECTORY [SYSTEM/ARCHITECTURE ...], or binary FILE' ;;
esac
