/* carla_lidar.c - label CARLA's semantic lidar records where they lie: strided, left-handed, without a copy. */
#include <openvocab3d.h>
#include <stddef.h>
#include <stdio.h>

/* One detection of sensor.lidar.ray_cast_semantic, as carla::sensor::data::SemanticLidarDetection packs it. */
typedef struct {
    float x, y, z; /* metres; x forward, y right, z up */
    float cos_inc_angle;
    uint32_t object_idx;
    uint32_t object_tag;
} detection;

_Static_assert(sizeof(detection) == 24, "CARLA's records have 24 bytes");

enum { COUNT = 6000 };

/* Stands for the sensor: a room corner, y mirrored because CARLA is left-handed. */
static void make_records(detection *records) {
    for (int i = 0; i < COUNT; i++) {
        float point[3];
        point[i % 3] = (float)(i * 37 % 1024) / 256.0f;
        point[(i + 1) % 3] = (float)(i * 101 % 1021) / 256.0f;
        point[(i + 2) % 3] = 0.0f;
        records[i] = (detection){point[0], -point[1], point[2], 1.0f, 0, (uint32_t)(i % 3)};
    }
}

/* The records as a cloud: every position is 24 bytes after the one before it. */
static ov3d_cloud cloud_of(const detection *records, size_t count) {
    ov3d_cloud cloud;
    ov3d_cloud_init(&cloud, sizeof cloud);
    cloud.count = count;
    cloud.positions.data = &records->x;
    cloud.positions.stride_bytes = sizeof(detection);
    cloud.positions.dtype = OV3D_DTYPE_F32;
    cloud.positions.components = 3;
    cloud.axes = OV3D_AXES_LEFT_HANDED_Z_UP;
    return cloud;
}

static void print_labels(ov3d_vocabulary vocabulary, const ov3d_result_view *view, const detection *records) {
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < view->points; i++) {
        checksum += (i + 1) * (uint64_t)(view->labels[i] + 2);
    }
    for (uint64_t i = 0; i < view->points && i < 3; i++) {
        const char *name = ov3d_vocabulary_name(vocabulary, (size_t)view->labels[i]);
        printf("CARLA's tag %u: %s\n", (unsigned)records[i].object_tag, name != NULL ? name : "none");
    }
    printf("checksum %llu\n", (unsigned long long)checksum);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: carla_lidar MODEL VOCABULARY\n");
        return 2;
    }
    static detection records[COUNT];
    ov3d_model model = NULL;
    ov3d_vocabulary vocabulary = NULL;
    ov3d_session session = NULL;
    ov3d_result result = NULL;
    ov3d_result_view view;

    make_records(records);
    ov3d_cloud cloud = cloud_of(records, COUNT);
    ov3d_result_view_init(&view, sizeof view);
    int ok = ov3d_model_load(argv[1], NULL, &model) == OV3D_OK &&
             ov3d_vocabulary_load(argv[2], &vocabulary) == OV3D_OK &&
             ov3d_session_create(model, NULL, &session) == OV3D_OK &&
             ov3d_session_set_vocabulary(session, vocabulary) == OV3D_OK &&
             ov3d_segment(session, &cloud, NULL, &result) == OV3D_OK &&
             ov3d_result_get(result, &view) == OV3D_OK;
    if (ok) {
        print_labels(vocabulary, &view, records);
    } else {
        char message[1024];
        ov3d_last_error(message, sizeof message);
        fprintf(stderr, "carla_lidar: %s\n", message);
    }

    ov3d_result_free(result);
    ov3d_session_free(session);
    ov3d_vocabulary_free(vocabulary);
    ov3d_model_free(model);
    return ok ? 0 : 1;
}
