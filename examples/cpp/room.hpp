// room.hpp - what both programs share: a generated cloud and the printing of labels.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <openvocab3d.hpp>
#include <vector>

// A point as programs have them: a position among other things.
struct Point {
    float x, y, z;
    std::uint32_t time;
};

// Floor and two walls of a room corner, 4 m wide, in metres with z up; replace it by your own points.
inline std::vector<Point> make_points() {
    std::vector<Point> points;
    for (unsigned i = 0; i < 6000; i++) {
        std::array<float, 3> xyz = {};
        xyz[i % 3] = static_cast<float>(i * 37 % 1024) / 256.0f;
        xyz[(i + 1) % 3] = static_cast<float>(i * 101 % 1021) / 256.0f;
        points.push_back({xyz[0], xyz[1], xyz[2], i});
    }
    return points;
}

// How many points got each label, and a number that is equal where all labels are.
inline void print_labels(const ov3d::Vocabulary &vocabulary, const ov3d::ResultView &view) {
    std::vector<unsigned> counts(view.label_count);
    std::uint64_t checksum = 0, position = 1;
    for (std::int32_t label : view.labels) {
        if (label != OV3D_LABEL_NONE) {
            counts[static_cast<std::size_t>(label)]++;
        }
        checksum += position++ * static_cast<std::uint64_t>(label + 2);
    }
    for (std::size_t label = 0; label < counts.size(); label++) {
        std::printf("%s: %u points\n", vocabulary.name(static_cast<std::int32_t>(label)), counts[label]);
    }
    std::printf("checksum %llu\n", static_cast<unsigned long long>(checksum));
}
