#!/bin/sh
# Brings what lies beside this file onto this K3s node, without a network.
#
#   sh install.sh            checks everything, then imports images and applies the manifests
#   sh install.sh --check    checks and changes nothing
#
# --from DIR   the unpacked bundle, where this script is a copy that the site keeps itself
# --keys DIR   public keys that this site trusts, *.pem (default /etc/jetrail/keys): never those that
#              came with this file
# --agent      images only, on a node that is no K3s server
# --old-k3s    go on with a K3s that may not find images by their digest
# --root DIR   the file system to install into (for tests)
#
# It may be stopped at any moment: what is in place is whole, and the next run does the rest.
# Exit: 0 done, 2 bad input, 5 not trusted.
set -eu
umask 022
PATH=$PATH:/usr/local/bin # where K3s is, which sudo leaves out on some systems

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
ROOT='' KEYS=/etc/jetrail/keys CHECK=no OLD_K3S=no AGENT=no

die() { code=$1; shift; printf 'error: %s\n' "$*" >&2; exit "$code"; }
fact() { sed -n "s/^$1=//p" "$HERE/FACTS"; }

while [ $# -gt 0 ]; do
    case $1 in
        --check) CHECK=yes ;;
        --agent) AGENT=yes ;;
        --old-k3s) OLD_K3S=yes ;;
        --from | --keys | --root)
            [ $# -gt 1 ] || die 2 "Expected a folder after $1."
            case $1 in --from) HERE=$2 ;; --keys) KEYS=$2 ;; *) ROOT=$2 ;; esac
            shift ;;
        *) die 2 "Expected --agent, --check, --from, --keys, --old-k3s or --root, got '$1'." ;;
    esac
    shift
done

IMAGES=$ROOT/var/lib/rancher/k3s/agent/images
MANIFESTS=$ROOT/var/lib/rancher/k3s/server/manifests

# --- is it what was made? ---
command -v openssl >/dev/null || die 2 "Expected openssl on this machine, which checks signatures." \
    "Install it from your system's packages. Nothing was changed."
[ -f "$HERE/SHA256SUMS" ] || die 2 "Expected an unpacked bundle in $HERE, got none."
[ -f "$HERE/SHA256SUMS.sig" ] || die 5 "This bundle is not signed. Make it again with a key."
sums=$(cat "$HERE/SHA256SUMS")
signer=''
for key in "$KEYS"/*.pem; do
    [ -f "$key" ] || die 2 "Expected the public keys that this site trusts in $KEYS, got none."
    if printf '%s\n' "$sums" | openssl dgst -sha256 -verify "$key" \
        -signature "$HERE/SHA256SUMS.sig" >/dev/null 2>&1; then signer=$key; break; fi
done
[ -n "$signer" ] || die 5 "No key in $KEYS signed this bundle. Nothing was changed."
(cd "$HERE" && printf '%s\n' "$sums" | sha256sum -c >/dev/null 2>&1) ||
    die 5 "A file of this bundle is not what was signed. Copy it again. Nothing was changed."
listed=$(printf '%s\n' "$sums" | sed 's/^[0-9a-f]*  //' | sort)
found=$(cd "$HERE" && find . ! -type d ! -name SHA256SUMS ! -name SHA256SUMS.sig |
    sed 's|^\./||' | sort)
[ "$listed" = "$found" ] || die 5 "There are files here that nobody signed. Nothing was changed."
[ -z "$(find "$HERE" ! -type d ! -type f)" ] ||
    die 5 "There are links here, and a bundle has none. Nothing was changed."
images=$(printf '%s\n' "$listed" | sed -n 's|^images/\(.*\.tar\)$|\1|p')
manifests=$(printf '%s\n' "$listed" | grep '^manifests/')
echo "signed by $(basename "$signer" .pem): $(fact SITE), $(fact RELEASES)"

# --- can this machine take it? ---
version=$(k3s --version 2>/dev/null |
    sed -n 's/^k3s version v\([0-9]*\.[0-9]*\.[0-9]*\).*/\1/p') || true
[ -n "$version" ] || die 2 "Expected K3s on this machine, got none. Run this on a K3s node."
minor=$(echo "$version" | cut -d. -f2) patch=$(echo "$version" | cut -d. -f3)
[ "${version%%.*}" -le 1 ] || minor=999
# Images by digest after an import: k3s-io/k3s#13221, in the releases of December 2025.
case $minor in
    32) least=11 ;; 33) least=7 ;; 34) least=3 ;; *) least=0; [ "$minor" -ge 35 ] || least=999 ;;
esac
if [ "$patch" -lt "$least" ] && [ "$OLD_K3S" = no ]; then
    die 2 "Expected K3s 1.32.11, 1.33.7, 1.34.3 or newer, which finds images by digest after an" \
        "import; got $version. Update K3s, or give --old-k3s."
fi
if [ "$(fact VOLUMES)" = yes ]; then
    [ "$minor" -ge 33 ] || die 2 "Expected K3s 1.33 or newer, which mounts the engine's image into" \
        "the pod; got $version. Update K3s, or pack the release on a base."
    [ "$minor" -ge 35 ] || grep -qs 'ImageVolume=true' "$ROOT/etc/rancher/k3s/config.yaml" ||
        echo "note: K3s $version mounts images only with the feature gate ImageVolume=true"
fi
for image in $(fact RUNTIME); do
    k3s ctr --namespace k8s.io images list --quiet 2>/dev/null | grep -qFx "$image" ||
        die 2 "Expected the runtime image $image in this K3s, since it is not in the bundle. Make" \
            "the bundle where release/images has it (\`release base build\`), or import it first."
done
[ -d "$ROOT/var/lib/rancher/k3s" ] || die 2 "Expected $ROOT/var/lib/rancher/k3s, which K3s makes."

# --- is there room? The archive stays, and K3s keeps its blobs and unpacks them ---
needed=10240
for image in $images; do
    cmp -s "$HERE/images/$image" "$IMAGES/$image" && continue
    needed=$((needed + 3 * $(wc -c <"$HERE/images/$image") / 1024))
done
room() { free=$(df -Pk "$ROOT/var/lib/rancher/k3s" | awk 'NR == 2 { print $4 }'); }
prune() { # what neither this bundle nor the last installed ones have; FILES: lists of those
    [ -d "$IMAGES" ] || return 0
    for old in "$IMAGES"/jetrail-*.tar; do
        [ -f "$old" ] || continue
        printf '%s\n' "$images" | cat - "$@" 2>/dev/null | grep -qFx "${old##*/}" && continue
        rm -f "$old"
        echo "removed $old"
    done
}
NOW=$IMAGES/.jetrail.now BEFORE=$IMAGES/.jetrail.before
room
if [ "$free" -lt "$needed" ] && [ "$CHECK" = no ] && [ -f "$NOW" ]; then
    prune "$NOW"
    room
fi
[ "$free" -ge "$needed" ] ||
    die 2 "Expected $needed KiB free in $ROOT/var/lib/rancher/k3s, got $free. Make room."
echo "K3s $version, $free KiB free"
[ "$CHECK" = no ] || exit 0

# --- install: images first, since what the manifests name must be there ---
put() { # FILE FOLDER: whole or not at all, and never again what is there
    target=$2/${1##*/} part=$2/.jetrail.part
    cmp -s "$HERE/$1" "$target" && return 0
    cp "$HERE/$1" "$part" && sync || {
        rm -f "$part"
        die 2 "Cannot write $target. Make room, and run this again."
    }
    # What was copied is what counts: a worn stick reads differently each time.
    if ! printf '%s\n' "$sums" | grep -qFx "$(sha256sum <"$part" | cut -c1-64)  $1"; then
        rm -f "$part"
        die 5 "$1 changed while it was copied. Use another stick, and run this again."
    fi
    mv -f "$part" "$target"
    echo "$target"
}
mkdir -p "$IMAGES"
for image in $images; do put "images/$image" "$IMAGES"; done
if [ "$AGENT" = no ]; then
    mkdir -p "$MANIFESTS"
    for manifest in $manifests; do put "$manifest" "$MANIFESTS"; done
fi

# --- prune: this bundle's images stay, and those of the one before it, to go back to. By their names
# and not by their age: a device without a battery for its clock wakes in 1970 ---
if [ "$images" != "$(cat "$NOW" 2>/dev/null)" ]; then
    printf '%s\n' "$images" >"$NOW.part" || die 2 "Cannot write $NOW. Make room, and run this again."
    [ ! -f "$NOW" ] || mv -f "$NOW" "$BEFORE"
    mv -f "$NOW.part" "$NOW"
fi
prune "$BEFORE"
echo "done"
