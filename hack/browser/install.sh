#!/bin/sh
# Installs Chromium by the system's package manager, for the tests of the
# dashboard's pages (test/browser). A browser that is there already is left
# alone, silently.
set -eu

[ -z "${BROWSER_PATH:-}" ] || exit 0
for name in chromium chromium-browser google-chrome; do
	! command -v "$name" >/dev/null || exit 0
done

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo -n "$@"
	fi
}

# Each with a font: without any, pages have no text.
if command -v apt-get >/dev/null; then
	install() {
		as_root apt-get update &&
			as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
				-o DPkg::Lock::Timeout=60 chromium fonts-dejavu-core
	}
elif command -v dnf >/dev/null; then
	install() { as_root dnf install -y chromium dejavu-sans-fonts dejavu-sans-mono-fonts; }
elif command -v apk >/dev/null; then
	install() { as_root apk add chromium font-dejavu; }
elif command -v pacman >/dev/null; then
	install() { as_root pacman -Sy --noconfirm chromium ttf-dejavu; }
else
	echo "no apt-get, dnf, apk or pacman: install Chromium or Chrome, or set BROWSER_PATH to its program" >&2
	exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "Installing Chromium."
# Somebody else may hold the package manager's locks, and networks fail.
for pause in 5 15 30 0; do
	! install >"$log" 2>&1 || exit 0
	sleep "$pause"
done
cat "$log" >&2
echo "installing Chromium failed" >&2
exit 1
