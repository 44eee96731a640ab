#!/usr/bin/env bash
# Say how many bytes more may travel with this checkout to a machine with a graphics card; fail when it is too large.
#
#     Testing/studies/gpu_fits.sh [PATH...]
#
# PATH  files and folders that travel, too, though git ignores them
# MIB   a variable: how many may travel; 64 when it is not set, as transfers to such machines are often limited
#
# What travels is what git tracks, what it does not know and does not ignore, and these. What is deleted does not count:
# without Resources/Models/published-map, which no training needs, 10 MB more fit, and `git checkout` brings it back.
set -u
most=$((${MIB:-64} << 20))
for path; do
    [ -e "$path" ] || { echo "there is no $path" >&2 && exit 2; }
done
top=$(git -C "$(dirname "$0")" rev-parse --show-toplevel 2>/dev/null) || {
    echo "this is no checkout: what is here has travelled already" >&2
    exit 0
}
bytes=$({
    git -C "$top" ls-files -coz --exclude-standard | (cd "$top" && xargs -0r realpath -qez)
    for path; do find "$(realpath "$path")" -type f -print0; done
} | sort -zu | du -cb --files0-from=- | tail -n 1 | cut -f 1)
echo $((most - bytes))
[ "$bytes" -le $most ] && exit
echo "$bytes bytes would travel, $((bytes - most)) more than may: pack less, with --pack-bytes" >&2
exit 1
