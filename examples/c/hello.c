/* hello.c - label a cloud: load, vocabulary, session, segment, read labels, free. */
#include <openvocab3d.h>
#include <stdio.h>

enum { COUNT = 6000 };

/* x y z in metres, z up. */
static float points[3 * COUNT];

/* Floor and two walls of a room corner, 4 m wide; replace it by your own points. */
static void make_points(void) {
    for (int i = 0; i < COUNT; i++) {
        float *point = points + 3 * i;
        point[i % 3] = (float)(i * 37 % 1024) / 256.0f;
        point[(i + 1) % 3] = (float)(i * 101 % 1021) / 256.0f;
        point[(i + 2) % 3] = 0.0f;
    }
}

/* How many points got each label, and a number that is equal where all labels are. */
static void print_labels(ov3d_vocabulary vocabulary, const ov3d_result_view *view) {
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < view->points; i++) {
        checksum += (i + 1) * (uint64_t)(view->labels[i] + 2);
    }
    for (int32_t label = 0; label < (int32_t)view->label_count; label++) {
        unsigned count = 0;
        for (uint64_t i = 0; i < view->points; i++) {
            count += view->labels[i] == label;
        }
        printf("%s: %u points\n", ov3d_vocabulary_name(vocabulary, (size_t)label), count);
    }
    printf("checksum %llu\n", (unsigned long long)checksum);
}

static void print_error(void) {
    char message[1024];
    ov3d_last_error(message, sizeof message);
    fprintf(stderr, "hello: %s\n", message);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: hello MODEL VOCABULARY\n");
        return 2;
    }
    ov3d_model model = NULL;
    ov3d_vocabulary vocabulary = NULL;
    ov3d_session session = NULL;
    ov3d_result result = NULL;
    ov3d_result_view view;

    make_points();
    ov3d_cloud cloud = ov3d_cloud_xyz(points, COUNT);
    ov3d_result_view_init(&view, sizeof view);
    int ok = ov3d_model_load(argv[1], NULL, &model) == OV3D_OK &&
             ov3d_vocabulary_load(argv[2], &vocabulary) == OV3D_OK &&
             ov3d_session_create(model, NULL, &session) == OV3D_OK &&
             ov3d_session_set_vocabulary(session, vocabulary) == OV3D_OK &&
             ov3d_segment(session, &cloud, NULL, &result) == OV3D_OK &&
             ov3d_result_get(result, &view) == OV3D_OK;
    if (ok) {
        print_labels(vocabulary, &view);
    } else {
        print_error();
    }

    ov3d_result_free(result);
    ov3d_session_free(session);
    ov3d_vocabulary_free(vocabulary);
    ov3d_model_free(model);
    return ok ? 0 : 1;
}
