/* stream.c - label a stream of frames with one session: the next frame is made while the last one runs. */
#include <openvocab3d.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COUNT = 2000 };

/* A sensor's frame: a room corner seen from a little further along x every time. */
static void make_frame(int frame, float *xyz) {
    for (int i = 0; i < COUNT; i++) {
        float *point = xyz + 3 * i;
        point[i % 3] = (float)(i * 37 % 512) / 256.0f;
        point[(i + 1) % 3] = (float)(i * 101 % 509) / 256.0f;
        point[(i + 2) % 3] = 0.0f;
        point[0] += (float)frame / 64.0f;
    }
}

/* Resident memory of this process in kB (Linux). */
static long resident_kb(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%*d %ld", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* What a host would do with the labels; here a number that depends on each of them. */
static ov3d_status use_labels(ov3d_result result, uint64_t *checksum) {
    ov3d_result_view view;
    ov3d_result_view_init(&view, sizeof view);
    ov3d_status status = ov3d_result_get(result, &view);
    for (uint64_t i = 0; status == OV3D_OK && i < view.points; i++) {
        *checksum += (i + 1) * (uint64_t)(view.labels[i] + 2);
    }
    return status;
}

static ov3d_status stream(ov3d_session session, int frames, uint64_t *checksum) {
    static float buffers[2][3 * COUNT]; /* one is read by the run in flight, the other one is filled */
    ov3d_segment_desc desc;
    ov3d_segment_desc_init(&desc, sizeof desc);
    desc.grid_origin = OV3D_GRID_WORLD; /* still objects keep their labels from frame to frame */

    make_frame(0, buffers[0]);
    for (int frame = 0; frame < frames; frame++) {
        ov3d_cloud cloud = ov3d_cloud_xyz(buffers[frame % 2], COUNT);
        ov3d_result result = NULL;
        ov3d_status status = ov3d_segment_begin(session, &cloud, &desc, &result);
        if (status == OV3D_OK) {
            make_frame(frame + 1, buffers[(frame + 1) % 2]);
            status = ov3d_result_wait(result, UINT64_MAX);
        }
        if (status == OV3D_OK) {
            status = use_labels(result, checksum);
        }
        ov3d_result_free(result); /* after ov3d_result_get, whose pointers it ends */
        if (status != OV3D_OK) {
            return status;
        }
        if (frame + 1 == 50 || frame + 1 == frames) {
            printf("resident after %d frames: %ld kB\n", frame + 1, resident_kb());
        }
    }
    return OV3D_OK;
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: stream MODEL VOCABULARY [FRAMES]\n");
        return 2;
    }
    int frames = argc == 4 ? atoi(argv[3]) : 300;
    uint64_t checksum = 0;
    ov3d_model model = NULL;
    ov3d_vocabulary vocabulary = NULL;
    ov3d_session session = NULL;
    int ok = ov3d_model_load(argv[1], NULL, &model) == OV3D_OK &&
             ov3d_vocabulary_load(argv[2], &vocabulary) == OV3D_OK &&
             ov3d_session_create(model, NULL, &session) == OV3D_OK &&
             ov3d_session_set_vocabulary(session, vocabulary) == OV3D_OK;
    ov3d_vocabulary_free(vocabulary); /* the session keeps what it uses */
    ov3d_model_free(model);
    ok = ok && stream(session, frames, &checksum) == OV3D_OK;
    if (ok) {
        printf("checksum %llu\n", (unsigned long long)checksum);
    } else {
        char message[1024];
        ov3d_last_error(message, sizeof message);
        fprintf(stderr, "stream: %s\n", message);
    }
    ov3d_session_free(session);
    return ok ? 0 : 1;
}
