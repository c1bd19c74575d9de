#!/usr/bin/env bash
# Run tests on an emulated 64-bit Arm processor, from the root of the repository, on Debian or Ubuntu, as root:
#
#     tests/emulate_arm.sh FOLDER                     the stored digests, with and without the dot product
#     tests/emulate_arm.sh FOLDER tests/test_kernels  these tests instead
#
# FOLDER is filled with a Python for Arm and the wheels of the requirements, some 700 MB, and used again the next
# time. It takes debootstrap and qemu-user-static. Everything is ten to thirty times slower than on this machine.
# Tests that start other processes, or need torch, are not for it.
set -euo pipefail

folder=$(realpath -m "${1:?name a folder}")
shift
repository=$(cd "$(dirname "$0")/.." && pwd)
release=bookworm version=3.11

if [ ! -e "$folder/complete" ]; then
    { command -v debootstrap && command -v qemu-aarch64-static; } >/dev/null || apt-get install -y debootstrap qemu-user-static
    # Packages are unpacked and not configured, for which programs of theirs would have to run.
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3 "$release" "$folder/system"
    for package in "$folder"/system/var/cache/apt/archives/*.deb; do
        dpkg -x "$package" "$folder/system"
    done
    python3 -m pip install --quiet --target "$folder/packages" --only-binary=:all: \
        --platform manylinux2014_aarch64 --platform manylinux_2_28_aarch64 --python-version "$version" \
        'numba>=0.61' numpy safetensors pillow ml_dtypes pytest hypothesis sentencepiece
    touch "$folder/complete"
fi

# The package as it is installed: kernels/ stands inside it.
rm -rf "$folder/source"
mkdir -p "$folder/source"
cp -r "$repository/numpy_siglip" "$repository/tests" "$repository/setup.cfg" "$folder/source"
rm -rf "$folder/source/numpy_siglip/kernels"
cp -r "$repository/kernels" "$folder/source/numpy_siglip/kernels"

run() { # with these instructions: run LEVEL ARGUMENTS...
    local level=$1 processor=max
    shift
    [ "$level" = armv8-a ] && processor=cortex-a72 # which has no dot product
    (
        cd "$folder/source"
        NUMPY_SIGLIP_LEVEL=$level NUMBA_CACHE_DIR="$folder/cache" PYTHONDONTWRITEBYTECODE=1 \
            PYTHONPATH="$folder/packages:$folder/source:$folder/source/tests" \
            qemu-aarch64-static -cpu "$processor" -L "$folder/system" \
            "$folder/system/usr/bin/python$version" "$@"
    )
}

for level in armv8-a-dotprod armv8-a; do
    echo "== $level"
    if [ $# -gt 0 ]; then
        run "$level" -m pytest -q --noconftest -p no:cacheprovider "$@"
    else
        run "$level" tests/test_reproducibility.py
    fi
done
