#!/bin/sh
# Builds the comparison program against Debian's libpcl-dev: build.sh OUTPUT
set -e
here=$(dirname "$0")
include=$(ls -d /usr/include/pcl-1.* | tail -1)
exec c++ -O3 -DNDEBUG -std=c++17 -w -I"$include" -I/usr/include/eigen3 "$here/supervoxels.cpp" -o "$1" \
    -lpcl_segmentation -lpcl_octree -lpcl_search -lpcl_kdtree -lpcl_common -lboost_system
