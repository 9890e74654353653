/* both_devices.c - through the shared library alone: one cloud on the CPU and on the first GPU, compared. */
#include <math.h>
#include <openvocab3d.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 2000, DEVICES = 2 };

static float points[3 * COUNT];

/* Floor and two walls of a room corner, 2 m wide. */
static void make_points(void) {
    for (int i = 0; i < COUNT; i++) {
        float *point = points + 3 * i;
        point[i % 3] = (float)(i * 37 % 1024) / 512.0f;
        point[(i + 1) % 3] = (float)(i * 101 % 1021) / 512.0f;
        point[(i + 2) % 3] = 0.0f;
    }
}

static void require(ov3d_status status, const char *doing) {
    char message[1024];
    if (status == OV3D_OK) {
        return;
    }
    ov3d_last_error(message, sizeof message);
    fprintf(stderr, "both_devices: %s: %s: %s\n", doing, ov3d_status_name(status), message);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: both_devices MODEL VOCABULARY\n");
        return 2;
    }
    ov3d_model model = NULL;
    ov3d_vocabulary vocabulary = NULL;
    ov3d_result results[DEVICES] = {NULL, NULL};
    ov3d_result_view views[DEVICES];
    make_points();
    ov3d_cloud cloud = ov3d_cloud_xyz(points, COUNT);
    require(ov3d_model_load(argv[1], NULL, &model), "loading the model");
    require(ov3d_vocabulary_load(argv[2], &vocabulary), "loading the vocabulary");
    for (uint32_t device = 0; device < DEVICES; device++) {
        ov3d_session session = NULL;
        ov3d_session_desc desc;
        ov3d_session_desc_init(&desc, sizeof desc);
        desc.device = device;
        require(ov3d_session_create(model, &desc, &session), "creating a session");
        require(ov3d_session_set_vocabulary(session, vocabulary), "setting the vocabulary");
        require(ov3d_segment(session, &cloud, NULL, &results[device]), "segmenting");
        ov3d_result_view_init(&views[device], sizeof views[device]);
        require(ov3d_result_get(results[device], &views[device]), "reading the result");
        ov3d_session_free(session);
    }
    int equal = 0;
    double largest = 0, worst = 0;
    for (int i = 0; i < COUNT; i++) {
        equal += views[0].labels[i] == views[1].labels[i];
        largest = fmax(largest, fabs(views[0].scores[i]));
        worst = fmax(worst, fabs(views[0].scores[i] - views[1].scores[i]));
    }
    printf("%d of %d labels equal, best scores within %.1e of the largest\n", equal, COUNT, worst / largest);
    for (int device = 0; device < DEVICES; device++) {
        ov3d_result_free(results[device]);
    }
    ov3d_vocabulary_free(vocabulary);
    ov3d_model_free(model);
    /* NaN fails. */
    return equal >= COUNT * 19 / 20 && worst <= 0.01 * largest ? 0 : 1;
}
