// The point cloud library's supervoxels of one cloud, for side-by-side comparisons: labels, time and memory.
//
//   supervoxels CLOUD LABELS VOXEL SEED COLOUR SPATIAL NORMAL REFINEMENTS REPEATS
//
// CLOUD holds u32 points, u32 flags, f32 positions [n, 3], u8 colours [n, 3]; LABELS receives u32 labels, 0 for none.
// Prints the least milliseconds of all repeats, the supervoxels, and the peak of memory above the loaded cloud in KiB.
#include <pcl/point_types.h>
#include <pcl/segmentation/supervoxel_clustering.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

using Point = pcl::PointXYZRGBA;

static long status_kib(const char *name) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long value = 0;
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name))) value = atol(line + strlen(name));
    if (file) fclose(file);
    return value;
}

int main(int argc, char **argv) {
    if (argc != 10) return fprintf(stderr, "nine arguments, see the source\n"), 2;
    FILE *in = fopen(argv[1], "rb");
    uint32_t head[2];
    if (!in || fread(head, 4, 2, in) != 2) return perror(argv[1]), 1;
    std::vector<float> xyz(3 * size_t(head[0]));
    std::vector<uint8_t> rgb(xyz.size());
    if (fread(xyz.data(), 4, xyz.size(), in) != xyz.size() || fread(rgb.data(), 1, rgb.size(), in) != rgb.size())
        return fprintf(stderr, "%s is too short\n", argv[1]), 1;
    fclose(in);
    pcl::PointCloud<Point>::Ptr cloud(new pcl::PointCloud<Point>);
    for (uint32_t i = 0; i < head[0]; ++i) {
        Point p;
        p.x = xyz[3 * i], p.y = xyz[3 * i + 1], p.z = xyz[3 * i + 2];
        p.r = rgb[3 * i], p.g = rgb[3 * i + 1], p.b = rgb[3 * i + 2], p.a = 255;
        cloud->push_back(p);
    }
    cloud->is_dense = false;
    double number[7];
    for (int i = 0; i < 7; ++i) number[i] = atof(argv[3 + i]);
    double best = 1e300;
    size_t found = 0;
    std::vector<uint32_t> labels(head[0]);
    // A new high-water mark, so that what reading took does not count.
    if (FILE *reset = fopen("/proc/self/clear_refs", "w")) fputs("5", reset), fclose(reset);
    const long before = status_kib("VmRSS:");
    for (int repeat = 0; repeat < int(number[6]); ++repeat) {
        const auto start = std::chrono::steady_clock::now();
        pcl::SupervoxelClustering<Point> clustering{float(number[0]), float(number[1])};
        clustering.setUseSingleCameraTransform(false);
        clustering.setInputCloud(cloud);
        clustering.setColorImportance(float(number[2]));
        clustering.setSpatialImportance(float(number[3]));
        clustering.setNormalImportance(float(number[4]));
        std::map<uint32_t, pcl::Supervoxel<Point>::Ptr> clusters;
        clustering.extract(clusters);
        if (number[5] > 0) clustering.refineSupervoxels(int(number[5]), clusters);
        std::multimap<uint32_t, uint32_t> adjacency;
        clustering.getSupervoxelAdjacency(adjacency);
        const auto labelled = clustering.getLabeledCloud();
        const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
        if (taken.count() < best) best = taken.count();
        found = clusters.size();
        for (uint32_t i = 0; i < head[0]; ++i) labels[i] = (*labelled)[i].label;
    }
    printf("%.3f %zu %ld\n", best, found, status_kib("VmHWM:") - before);
    FILE *out = fopen(argv[2], "wb");
    if (!out || fwrite(labels.data(), 4, labels.size(), out) != labels.size() || fclose(out)) return perror(argv[2]), 1;
}
