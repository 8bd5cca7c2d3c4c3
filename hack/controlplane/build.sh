#!/bin/sh
# Builds the embedded control plane from the Go modules that go.mod beside this
# file pins: etcd, kube-apiserver and kube-controller-manager, and kubectl if
# there is none on PATH; or only those that are named.
#
#   [KUBERNETES_VERSION=1.32] hack/controlplane/build.sh DIRECTORY [BINARY...]
#
# KUBERNETES_VERSION takes the go.mod of the directory of that name instead.
# A binary that is up to date is left alone, silently. Whoever sets
# KUBEBUILDER_ASSETS brings binaries of their own: then nothing is built.
set -eu

if [ $# -eq 0 ]; then
	echo "usage: $0 DIRECTORY [BINARY...]" >&2
	exit 2
fi
[ -z "${KUBEBUILDER_ASSETS:-}" ] || exit 0

here=$(cd "$(dirname "$0")" && pwd)
module=$here/${KUBERNETES_VERSION:-.}
if [ ! -f "$module/go.mod" ]; then
	echo "no Kubernetes $KUBERNETES_VERSION: there is no go.mod in $module" >&2
	exit 2
fi

mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
cd "$module"

# The binaries run here, whatever the caller builds for, and are what go.mod
# says, whatever a workspace says.
unset GOOS GOARCH GOBIN
export CGO_ENABLED=0 GOWORK=off

# The compiler spends a fifth of its time on collecting its own garbage, unless
# it may let more of it lie about.
export GOGC="${GOGC:-400}" GOMEMLIMIT="${GOMEMLIMIT:-1GiB}"

binaries=$*
if [ -z "$binaries" ]; then
	binaries="etcd kube-apiserver kube-controller-manager"
	command -v kubectl >/dev/null || binaries="$binaries kubectl"
fi

# All that decides what a binary will be, in one number.
key=$({
	go env GOVERSION GOOS GOARCH
	cat go.mod go.sum "$here/build.sh"
} | git hash-object --stdin)

stamp() {
	echo "$out/.$1.stamp"
}

todo=
total=0
for name in $binaries; do
	if [ ! -x "$out/$name" ] || [ "$(cat "$(stamp "$name")" 2>/dev/null)" != "$key" ]; then
		todo="$todo $name"
		total=$((total + 1))
	fi
done
[ "$total" -gt 0 ] || exit 0

# Everything unfinished lives here, Go's own work included. A binary leaves by
# a rename: it is there as a whole or not at all.
work=$(mktemp -d "$out/.build.XXXXXX")
export GOTMPDIR="$work"
child=
reporter=
finish() {
	status=$?
	trap - EXIT INT TERM HUP
	# shellcheck disable=SC2086 # none, one or two process ids
	kill $child $reporter 2>/dev/null || true
	wait
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

seconds() {
	s=$(($(date +%s) - $1))
	if [ "$s" -ge 60 ]; then
		echo "$((s / 60)) min $((s % 60)) s"
	else
		echo "$s s"
	fi
}

# watched REPORT COMMAND...: runs a command and calls REPORT every 15 seconds
# until it ends. The command is in the background so that a signal ends it at
# once; its output goes to $work/out and $work/log.
watched() {
	report=$1
	shift
	began=$(date +%s)
	: >"$work/log"
	"$@" >"$work/out" 2>"$work/log" &
	child=$!
	while sleep 15 >/dev/null 2>&1 && kill -0 "$child" 2>/dev/null; do
		"$report"
	done &
	reporter=$!
	status=0
	wait "$child" || status=$?
	child=
	kill "$reporter" 2>/dev/null || true
	wait "$reporter" 2>/dev/null || true
	reporter=
	if [ "$status" -ne 0 ]; then
		# Without the names of what went well.
		grep ' ' "$work/log" >&2 || true
		echo "building the control plane failed after $(seconds "$began")" >&2
		exit "$status"
	fi
}

# shellcheck disable=SC2329 # called by watched
downloading() {
	echo "      $(grep -c '^go: downloading' "$work/log" 2>/dev/null) modules downloaded, $(seconds "$began")"
}

# shellcheck disable=SC2329 # called by watched
compiling() {
	# grep fails when it counts none, and when the work is over.
	compiled=$(grep -c '^[^ ]*$' "$work/log" 2>/dev/null) || [ -n "$compiled" ] || return 0
	if [ "$compiled" -lt $((packages - 1)) ]; then
		echo "      $compiled of $packages packages compiled, $(seconds "$began")"
	else
		echo "      linking, $(seconds "$began")"
	fi
}

package() {
	case $1 in
	etcd) echo go.etcd.io/etcd/server/v3 ;;
	*) echo "k8s.io/kubernetes/cmd/$1" ;;
	esac
}

echo "Building the control plane into $out."
echo "The first time takes about 6 minutes on two cores, and longer where modules are yet to be downloaded."

# Downloads what is missing.
# shellcheck disable=SC2046 # one word per package
watched downloading go list -mod=readonly -deps $(for name in $todo; do package "$name"; done)

etcd=$(go list -m -f '{{.Version}}' go.etcd.io/etcd/server/v3)
kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
major=${kubernetes#v}
major=${major%%.*}
minor=${kubernetes#*.}
minor=${minor%%.*}
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	ldflags="$ldflags -X $package.gitVersion=$kubernetes -X $package.gitMajor=$major -X $package.gitMinor=$minor"
done

start=$(date +%s)
step=0
for name in $todo; do
	step=$((step + 1))
	version=$kubernetes
	[ "$name" != etcd ] || version=$etcd
	echo "[$step/$total] building $name $version"

	# go build -v names each package that it compiles. Stale ones are those
	# that it will have to, which the cache does not hold.
	packages=$(go list -trimpath -ldflags "$ldflags" -deps -f '{{if .Stale}}{{.ImportPath}}{{end}}' "$(package "$name")" |
		grep -c . || true)
	watched compiling go build -v -trimpath -buildvcs=false -ldflags "$ldflags" -mod=readonly -o "$work/$name" "$(package "$name")"
	mv -f "$work/$name" "$out/$name"
	echo "$key" >"$work/stamp"
	mv -f "$work/stamp" "$(stamp "$name")"
	echo "[$step/$total] built $name in $(seconds "$began")"
done
[ "$total" -eq 1 ] || echo "Control plane built in $(seconds "$start")."
