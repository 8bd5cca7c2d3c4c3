#!/bin/sh
# Builds kubectl-horizon for all platforms into dist/plugin, an archive for each, with their digests and the manifest
# for krew.
#
# usage: archives.sh VERSION
set -eu
cd "$(dirname "$0")/../.."
version=$1
platforms='linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64'

rm -rf dist/plugin
mkdir -p dist/plugin
manifest=dist/plugin/horizon.yaml
sed -e '/^#/d' -e "s|@VERSION@|$version|" hack/plugin/krew.yaml.in >"$manifest"

digest() { # of a file; macOS has shasum only
	if command -v sha256sum >/dev/null 2>&1; then
		sha256sum "$1"
	else
		shasum -a 256 "$1"
	fi | cut -d ' ' -f 1
}

for platform in $platforms; do
	os=${platform%/*} arch=${platform#*/}
	binary=kubectl-horizon
	[ "$os" != windows ] || binary=kubectl-horizon.exe
	archive=kubectl-horizon_${version}_${os}_${arch}.tar.gz
	dir=dist/plugin/$os-$arch
	mkdir "$dir"
	cp LICENSE "$dir"
	CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath -ldflags "-s -w -X main.version=$version" \
		-o "$dir/$binary" ./cmd/kubectl-horizon
	size=$(wc -c <"$dir/$binary")
	tar -C "$dir" -czf "dist/plugin/$archive" "$binary" LICENSE
	rm -r "$dir"
	sum=$(digest "dist/plugin/$archive")
	printf '%s  %s\n' "$sum" "$archive" >>dist/plugin/SHA256SUMS
	sed -e "s|@OS@|$os|" -e "s|@ARCH@|$arch|" -e "s|@VERSION@|$version|" -e "s|@ARCHIVE@|$archive|" \
		-e "s|@SHA256@|$sum|" -e "s|@BINARY@|$binary|" hack/plugin/krew_platform.yaml.in >>"$manifest"
	printf '%s: %d MB\n' "$archive" $((size / 1000000))
done
