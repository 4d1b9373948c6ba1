#!/usr/bin/env bash
# Makes sure that a Vulkan loader and at least one driver are there. With root or sudo it installs Mesa's software driver
# on Debian and Ubuntu; otherwise it prints the one line to run. macOS and Windows need nothing.
set -euo pipefail

[ "$(uname -s)" = Linux ] || exit 0

loader() { ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || ls /usr/lib/*/libvulkan.so.1 >/dev/null 2>&1; }
driver() {
    [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && return 0
    local folder
    for folder in /usr/share /usr/local/share /etc "$HOME/.local/share"; do
        compgen -G "$folder/vulkan/icd.d/*.json" >/dev/null && return 0
    done
    return 1
}
loader && driver && exit 0

packages="mesa-vulkan-drivers libvulkan1"
if ! command -v apt-get >/dev/null; then
    echo "No Vulkan driver found. Install your distribution's Mesa Vulkan drivers (on Fedora: dnf install mesa-vulkan-drivers vulkan-loader)." >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo)
else
    echo "No Vulkan driver found. Run:  sudo apt-get update && sudo apt-get install -y $packages" >&2
    exit 1
fi
echo "Installing $packages (a software Vulkan driver) ..." >&2
"${as_root[@]}" apt-get update -qq
# shellcheck disable=SC2086 # two package names
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
