// misuse_clouds.c - clouds that are wrong, and odd ones that are right.

#include "check.h"
#include "misuse.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void refused(const char *what, const ov3d_cloud *cloud, ov3d_status want, const char *mentions) {
    REFUSED(what, ov3d_segment(world.session, cloud, NULL, &out.result), want, mentions);
}

// Whether `cloud` gives the labels `want`, or any for NULL, and `points` of them.
static bool labelled(const ov3d_cloud *cloud, const int32_t *want, uint64_t points) {
    ov3d_result result = NULL;
    ov3d_result_view view;
    ov3d_result_view_init(&view, sizeof view);
    if (ov3d_segment(world.session, cloud, NULL, &result) != OV3D_OK || ov3d_result_get(result, &view) != OV3D_OK) {
        return false;
    }
    bool same = view.points == points && (want == NULL || memcmp(view.labels, want, points * sizeof *want) == 0);
    ov3d_result_free(result);
    return same;
}

static void fields(void) {
    ov3d_cloud cloud = world_cloud();
    cloud.memory = 1;
    refused("memory", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "cloud.memory");
    cloud.memory = INT32_MIN;
    refused("memory", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "cloud.memory");
    cloud = world_cloud();
    cloud.flags = 4;
    refused("flags", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "cloud.flags");
    cloud = world_cloud();
    cloud.axes = 5;
    refused("axes", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "cloud.axes");
    cloud.axes = -1;
    refused("axes", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "cloud.axes");
    const double units[] = {0.0, -1.0, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        cloud = world_cloud();
        cloud.unit_in_metres = units[i];
        refused("unit", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "unit_in_metres");
    }
    double pose[13] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, (double)NAN};
    cloud = world_cloud();
    cloud.pose = pose;
    refused("pose", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "pose");
    cloud.count = (uint64_t)UINT32_MAX + 1;
    refused("count", &cloud, OV3D_ERROR_OUT_OF_RANGE, "cloud.count");
    cloud.count = UINT64_MAX;
    refused("count", &cloud, OV3D_ERROR_OUT_OF_RANGE, "cloud.count");
}

// Cases for one of the cloud's views, `color` or positions.
static void of_view(bool color) {
    static uint8_t colors[POINTS][3];
    const char *name = color ? "cloud.colors" : "cloud.positions";
    ov3d_cloud right = world_cloud();
    right.colors = (ov3d_strided_view){.data = colors, .stride_bytes = 3, .dtype = OV3D_DTYPE_U8, .components = 3};
    const uint64_t row = color ? 3 : 12;
    const uint64_t strides[] = {0, row - 1, UINT64_MAX, (uint64_t)-12, (uint64_t)1 << 63};
    for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++) {
        ov3d_cloud cloud = right;
        (color ? &cloud.colors : &cloud.positions)->stride_bytes = strides[i];
        refused("stride", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "stride_bytes");
        refused("stride of", &cloud, OV3D_ERROR_INVALID_ARGUMENT, name);
    }
    ov3d_cloud cloud = right;
    (color ? &cloud.colors : &cloud.positions)->stride_bytes = (uint64_t)INT64_MAX / 2;
    refused("count x stride", &cloud, OV3D_ERROR_INVALID_ARGUMENT, name);
    const int32_t dtypes[] = {0, 4, -1, color ? OV3D_DTYPE_F64 : OV3D_DTYPE_U8};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        cloud = right;
        (color ? &cloud.colors : &cloud.positions)->dtype = dtypes[i];
        (color ? &cloud.colors : &cloud.positions)->stride_bytes = 24;
        // Readable as rows of 24 bytes whatever the type is.
        cloud.count = 10;
        refused("dtype", &cloud, OV3D_ERROR_INVALID_ARGUMENT, color ? "colors" : "positions");
    }
    const uint32_t components[] = {0, 2, UINT32_MAX};
    for (size_t i = 0; i < sizeof components / sizeof components[0]; i++) {
        cloud = right;
        (color ? &cloud.colors : &cloud.positions)->components = components[i];
        refused("components", &cloud, OV3D_ERROR_INVALID_ARGUMENT, color ? "colors" : "positions");
    }
    cloud = right;
    (color ? &cloud.colors : &cloud.positions)->reserved[1] = 1;
    refused("reserved", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "reserved");
}

static void layouts(void) {
    // Interleaved records at an odd address: positions may lie anywhere.
    enum { RECORD = 31 };
    unsigned char *records = malloc(1 + RECORD * POINTS);
    if (records == NULL) {
        return;
    }
    for (size_t i = 0; i < POINTS; i++) {
        memcpy(records + 1 + RECORD * i, world.positions[i], 12);
    }
    ov3d_cloud cloud = world_cloud();
    cloud.positions.data = records + 1;
    cloud.positions.stride_bytes = RECORD;
    HOLDS("positions at odd addresses", labelled(&cloud, world.labels, POINTS));
    double wide[POINTS][3];
    for (size_t i = 0; i < POINTS; i++) {
        for (int axis = 0; axis < 3; axis++) {
            wide[i][axis] = (double)world.positions[i][axis];
        }
    }
    cloud = world_cloud();
    cloud.positions = (ov3d_strided_view){.data = wide, .stride_bytes = 24, .dtype = OV3D_DTYPE_F64, .components = 3};
    HOLDS("64-bit positions", labelled(&cloud, world.labels, POINTS));
    free(records);

    // Bytes 4 to 7 hold the first value: a pose that no double may start at.
    double aligned[14] = {0};
    cloud = world_cloud();
    cloud.pose = (const double *)(const void *)((const char *)aligned + 4);
    refused("pose at an odd address", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "cloud.pose");

    // A ground robot's frame, whatever the engine's: the same room in each convention.
    static const struct {
        int32_t axes;
        float from[3][3];
    } conventions[] = {
        {OV3D_AXES_LEFT_HANDED_Z_UP, {{1, 0, 0}, {0, -1, 0}, {0, 0, 1}}},
        {OV3D_AXES_RIGHT_HANDED_Y_UP, {{1, 0, 0}, {0, 0, 1}, {0, -1, 0}}},
        {OV3D_AXES_LEFT_HANDED_Y_UP, {{1, 0, 0}, {0, 0, 1}, {0, 1, 0}}},
        {OV3D_AXES_CAMERA, {{1, 0, 0}, {0, 0, -1}, {0, 1, 0}}},
    };
    for (size_t c = 0; c < sizeof conventions / sizeof conventions[0]; c++) {
        float there[POINTS][3];
        for (size_t i = 0; i < POINTS; i++) {
            for (int axis = 0; axis < 3; axis++) {
                const float *row = conventions[c].from[axis], *p = world.positions[i];
                there[i][axis] = row[0] * p[0] + row[1] * p[1] + row[2] * p[2];
            }
        }
        cloud = ov3d_cloud_xyz(&there[0][0], POINTS);
        cloud.axes = conventions[c].axes;
        HOLDS("axes", labelled(&cloud, world.labels, POINTS));
    }
}

static void odd_points(void) {
    float points[POINTS + 3][3];
    memcpy(points, world.positions, sizeof world.positions);
    const float odd[3][3] = {{NAN, 0, 0}, {0, INFINITY, 0}, {0, 0, -INFINITY}};
    memcpy(points[POINTS], odd, sizeof odd);
    int32_t labels[POINTS + 3];
    memcpy(labels, world.labels, sizeof world.labels);
    labels[POINTS] = labels[POINTS + 1] = labels[POINTS + 2] = OV3D_LABEL_NONE;
    ov3d_cloud cloud = ov3d_cloud_xyz(&points[0][0], POINTS + 3);
    HOLDS("points that are not finite", labelled(&cloud, labels, POINTS + 3));
    cloud = ov3d_cloud_xyz(&points[POINTS][0], 3);
    HOLDS("nothing but such points", labelled(&cloud, &labels[POINTS], 3));
    cloud = ov3d_cloud_xyz(NULL, 0);
    HOLDS("an empty cloud", labelled(&cloud, NULL, 0));
    cloud = ov3d_cloud_xyz(NULL, 5);
    refused("no positions", &cloud, OV3D_ERROR_INVALID_ARGUMENT, "cloud.positions");
    memset(&cloud, 0, sizeof cloud);
    ov3d_cloud_init(&cloud, sizeof cloud);
    HOLDS("a cloud that is all defaults", labelled(&cloud, NULL, 0));
    cloud = ov3d_cloud_xyz(&points[7][0], 1);
    HOLDS("one point", labelled(&cloud, NULL, 1));
    for (size_t i = 0; i < POINTS; i++) {
        memcpy(points[i], points[0], sizeof points[0]);
    }
    cloud = ov3d_cloud_xyz(&points[0][0], POINTS);
    HOLDS("all points equal", labelled(&cloud, NULL, POINTS));
}

static void ranges(void) {
    // In voxels of a metre, so that every number is exact.
    ov3d_segment_desc desc = segment_defaults();
    desc.voxel_size = 1.0;
    const float most = 262143.0f;
    for (int axis = 0; axis < 3; axis++) {
        for (int32_t grid = OV3D_GRID_MINIMUM; grid <= OV3D_GRID_WORLD; grid++) {
            float points[2][3] = {{0, 0, 0}, {0, 0, 0}};
            points[1][axis] = most;
            ov3d_cloud cloud = ov3d_cloud_xyz(&points[0][0], 2);
            desc.grid_origin = grid;
            ov3d_result result = NULL;
            HOLDS("as far as voxels go", ov3d_segment(world.session, &cloud, &desc, &result) == OV3D_OK);
            ov3d_result_free(result);
            points[1][axis] = most + 1.0f;
            REFUSED("a voxel further", ov3d_segment(world.session, &cloud, &desc, &out.result),
                    OV3D_ERROR_OUT_OF_RANGE, "262144");
            points[1][axis] = -1e30f;
            REFUSED("far out", ov3d_segment(world.session, &cloud, &desc, &out.result), OV3D_ERROR_OUT_OF_RANGE,
                    "voxel");
        }
    }
}

void misuse_of_clouds(void) {
    fields();
    of_view(false);
    of_view(true);
    layouts();
    odd_points();
    ranges();
}
