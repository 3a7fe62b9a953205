#!/bin/sh
# Brings what lies beside this file onto this K3s server, without a network.
#
#   sh install.sh            checks everything, then imports images and applies the manifests
#   sh install.sh --check    checks and changes nothing
#
# --keys DIR   public keys that this site trusts, *.pem (default /etc/jetrail/keys): never those that
#              came with this file
# --old-k3s    go on with a K3s that may not find images by their digest
# --root DIR   the file system to install into (for tests)
#
# Exit: 0 done, 2 bad input, 5 not trusted.
set -eu
umask 022

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
ROOT='' KEYS=/etc/jetrail/keys CHECK=no OLD_K3S=no

die() { code=$1; shift; printf 'error: %s\n' "$*" >&2; exit "$code"; }
fact() { sed -n "s/^$1=//p" "$HERE/FACTS"; }

while [ $# -gt 0 ]; do
    case $1 in
        --check) CHECK=yes ;;
        --old-k3s) OLD_K3S=yes ;;
        --keys) [ $# -gt 1 ] || die 2 "Expected a folder after --keys."; KEYS=$2; shift ;;
        --root) [ $# -gt 1 ] || die 2 "Expected a folder after --root."; ROOT=$2; shift ;;
        *) die 2 "Expected --check, --keys, --old-k3s or --root, got '$1'." ;;
    esac
    shift
done

IMAGES=$ROOT/var/lib/rancher/k3s/agent/images
MANIFESTS=$ROOT/var/lib/rancher/k3s/server/manifests

# --- is it what was made? ---
command -v openssl >/dev/null || die 2 "Expected openssl on this machine, which checks signatures."
[ -f "$HERE/SHA256SUMS.sig" ] || die 5 "This bundle is not signed. Make it again with a key."
signer=''
for key in "$KEYS"/*.pem; do
    [ -f "$key" ] || die 2 "Expected the public keys that this site trusts in $KEYS, got none."
    if openssl dgst -sha256 -verify "$key" -signature "$HERE/SHA256SUMS.sig" \
        "$HERE/SHA256SUMS" >/dev/null 2>&1; then signer=$key; break; fi
done
[ -n "$signer" ] || die 5 "No key in $KEYS signed this bundle. Nothing was changed."
(cd "$HERE" && sha256sum -c SHA256SUMS >/dev/null 2>&1) ||
    die 5 "A file of this bundle is not what was signed. Copy it again. Nothing was changed."
listed=$(sed 's/^[0-9a-f]*  //' "$HERE/SHA256SUMS" | sort)
found=$(cd "$HERE" && find . -type f ! -name SHA256SUMS ! -name SHA256SUMS.sig | sed 's|^\./||' | sort)
[ "$listed" = "$found" ] || die 5 "There are files here that nobody signed. Nothing was changed."
echo "signed by $(basename "$signer" .pem): $(fact SITE), $(fact RELEASES)"

# --- can this machine take it? ---
version=$(k3s --version 2>/dev/null | sed -n 's/^k3s version v\([0-9][0-9.]*\).*/\1/p')
[ -n "$version" ] || die 2 "Expected K3s on this machine, got none. Run this on a K3s server."
minor=$(echo "$version" | cut -d. -f2) patch=$(echo "$version" | cut -d. -f3)
# Images by digest after an import: k3s-io/k3s#13221, in the releases of about November 2025.
case $minor in
    32) least=10 ;; 33) least=6 ;; 34) least=2 ;; *) least=0; [ "$minor" -ge 32 ] || least=999 ;;
esac
if [ "$patch" -lt "$least" ] && [ "$OLD_K3S" = no ]; then
    die 2 "Expected K3s 1.32.10, 1.33.6, 1.34.2 or newer, which finds images by digest after an" \
        "import; got $version. Update K3s, or give --old-k3s."
fi
[ -d "$ROOT/var/lib/rancher/k3s" ] || die 2 "Expected $ROOT/var/lib/rancher/k3s, which K3s makes."
free=$(df -Pk "$ROOT/var/lib/rancher/k3s" | awk 'NR == 2 { print $4 }')
[ "$free" -ge "$(fact NEEDED_KIB)" ] ||
    die 2 "Expected $(fact NEEDED_KIB) KiB free in $ROOT/var/lib/rancher/k3s, got $free. Make room."
echo "K3s $version, $free KiB free"
[ "$CHECK" = no ] || exit 0

# --- install: images first, since what the manifests name must be there ---
put() { # FILE FOLDER: whole or not at all, and never again what is there
    target=$2/$(basename "$1")
    cmp -s "$1" "$target" && return 0
    cp "$1" "$2/.jetrail.part" && sync && mv "$2/.jetrail.part" "$target"
    echo "$target"
}
mkdir -p "$IMAGES" "$MANIFESTS"
for image in "$HERE"/images/*.tar; do put "$image" "$IMAGES"; done
for manifest in "$HERE"/manifests/*.yaml; do put "$manifest" "$MANIFESTS"; done

# --- prune: what is here now stays, and one archive before it, to go back to ---
kept=0
for old in $(ls -t "$IMAGES"); do
    case $old in jetrail-*.tar) ;; *) continue ;; esac
    [ ! -f "$HERE/images/$old" ] || continue
    kept=$((kept + 1))
    [ "$kept" -gt 1 ] || continue
    rm -f "$IMAGES/$old" && echo "removed $IMAGES/$old"
done
echo "done"
