#!/bin/sh
# install.sh - builds libopenvocab3d and installs it with headers, pkg-config file, CMake package and licences.
set -eu

usage() {
    cat <<'END'
usage: include/install.sh [--library FILE] PREFIX

Builds the shared library and installs it under PREFIX: lib/libopenvocab3d.so with its version links, include/,
lib/pkgconfig/, lib/cmake/openvocab3d/, share/openvocab3d/ (a vocabulary) and share/doc/openvocab3d/. The installed files may be moved together.

  --library FILE   install this library, already built, instead of building one
  -h, --help       show this text

The environment variable DESTDIR, if set, is put before PREFIX, as packagers expect.

examples:
  include/install.sh "$HOME/.local"
  sudo include/install.sh --library target/release/libopenvocab3d.so /usr/local && sudo ldconfig
  DESTDIR=package include/install.sh /usr
END
}

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

library='' prefix=''
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --library)
            [ $# -ge 2 ] || fail "--library needs a file"
            library=$2
            shift
            ;;
        -*) fail "unknown option '$1'; see --help" ;;
        *)
            [ -z "$prefix" ] || fail "more than one PREFIX: '$prefix' and '$1'"
            prefix=$1
            ;;
    esac
    shift
done
if [ -z "$prefix" ]; then
    usage >&2
    exit 2
fi

root=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
[ -n "$version" ] || fail "'$root/Cargo.toml' states no version"
# The SONAME's numbers, as build.rs has them: before 1.0 every minor version may break the interface.
case $version in
    0.*) so_version=${version%.*} ;;
    *) so_version=${version%%.*} ;;
esac

if [ -z "$library" ]; then
    target=${CARGO_TARGET_DIR:-$root/target}
    cargo build --release --lib --manifest-path "$root/Cargo.toml" --target-dir "$target"
    library=$target/release/libopenvocab3d.so
fi
[ -f "$library" ] || fail "'$library' is not a file"

to=${DESTDIR:-}$prefix
cmake=$to/lib/cmake/openvocab3d
doc=$to/share/doc/openvocab3d
words=$to/share/openvocab3d
mkdir -p "$to/include" "$to/lib/pkgconfig" "$cmake" "$doc" "$words"

# fill TEMPLATE FILE: writes the template with the version in it.
fill() {
    sed -e "s/@VERSION@/$version/g" -e "s/@SO_VERSION@/$so_version/g" "$root/include/$1" > "$2"
    chmod 644 "$2"
}

# Under another name first: a program that runs with the old library keeps its file.
installed=$to/lib/libopenvocab3d.so.$version
install -m 755 "$library" "$installed.new"
if command -v "${STRIP:-strip}" > /dev/null; then
    "${STRIP:-strip}" --strip-unneeded "$installed.new"
fi
mv -f "$installed.new" "$installed"
ln -sf "libopenvocab3d.so.$version" "$to/lib/libopenvocab3d.so.$so_version"
ln -sf "libopenvocab3d.so.$so_version" "$to/lib/libopenvocab3d.so"

install -m 644 "$root/include/openvocab3d.h" "$root/include/openvocab3d.hpp" "$to/include"
fill openvocab3d.pc.in "$to/lib/pkgconfig/openvocab3d.pc"
fill openvocab3d-config.cmake.in "$cmake/openvocab3d-config.cmake"
fill openvocab3d-config-version.cmake.in "$cmake/openvocab3d-config-version.cmake"
install -m 644 "$root/LICENSE" "$root/LICENSE-MIT" "$root/LICENSE-APACHE" "$doc"
install -m 644 "$root/src/text/merges.LICENSE" "$doc/LICENSE-CLIP"
install -m 644 "$root/src/text/names/README.md" "$doc/vit-b-32.md"
install -m 644 "$root/src/text/names/vit-b-32.safetensors" "$words"

echo "installed libopenvocab3d $version in $to"
