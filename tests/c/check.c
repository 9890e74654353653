// check.c - counted cases and the objects they run on.

#include "check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct outputs out;
struct world world;

static struct outputs armed;
static int cases;
static int failed;

static void fail(const char *file, int line, const char *what, const char *why) {
    failed++;
    printf("%s:%d: %s: %s\n", file, line, what, why);
}

void require(const char *what, ov3d_status status) {
    if (status == OV3D_OK) {
        return;
    }
    char message[512];
    ov3d_last_error(message, sizeof message);
    printf("%s: %s: %s\n", what, ov3d_status_name(status), message);
    exit(2);
}

double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

void sleep_ms(double milliseconds) {
    struct timespec time = {.tv_sec = (time_t)(milliseconds / 1e3)};
    time.tv_nsec = (long)((milliseconds - (double)time.tv_sec * 1e3) * 1e6);
    nanosleep(&time, NULL);
}

const char *in_folder(const char *name) {
    static char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", world.folder, name);
    return path;
}

unsigned char *read_whole(const char *name, size_t *size) {
    FILE *file = fopen(in_folder(name), "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        printf("cannot open '%s'\n", in_folder(name));
        exit(2);
    }
    long length = ftell(file);
    rewind(file);
    *size = length > 0 ? (size_t)length : 0;
    unsigned char *bytes = malloc(*size + 1);
    if (bytes == NULL || fread(bytes, 1, *size, file) != *size) {
        printf("cannot read '%s'\n", in_folder(name));
        exit(2);
    }
    fclose(file);
    return bytes;
}

static float unit(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 16777216.0f;
}

void fill_points(float (*points)[3], size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) {
        // Six walls of a room of 6 x 5 x 2.5 m: surfaces, as a scanner sees them.
        const float size[3] = {6.0f, 5.0f, 2.5f};
        for (int axis = 0; axis < 3; axis++) {
            points[i][axis] = unit(&seed) * size[axis];
        }
        int wall = (int)(i % 6) / 2;
        points[i][wall] = i % 2 ? size[wall] : 0.0f;
    }
}

ov3d_cloud world_cloud(void) { return ov3d_cloud_xyz(&world.positions[0][0], POINTS); }

ov3d_segment_desc segment_defaults(void) {
    ov3d_segment_desc desc;
    ov3d_segment_desc_init(&desc, sizeof desc);
    return desc;
}

void fill_embeddings(float *rows, size_t count, size_t dim) {
    uint32_t state = 7;
    for (size_t i = 0; i < count * dim; i++) {
        rows[i] = unit(&state) - 0.5f;
    }
}

void world_open(const char *folder) {
    world.folder = folder;
    require("ones", ov3d_model_load(in_folder("ones.safetensors"), NULL, &world.ones));
    require("colors", ov3d_model_load(in_folder("colors.safetensors"), NULL, &world.colors));
    require("words", ov3d_vocabulary_load(in_folder("words.safetensors"), &world.words));
    ov3d_session_desc desc;
    ov3d_session_desc_init(&desc, sizeof desc);
    desc.threads = 2;
    require("session", ov3d_session_create(world.ones, &desc, &world.session));
    require("vocabulary", ov3d_session_set_vocabulary(world.session, world.words));
    fill_points(world.positions, POINTS, 1);
    ov3d_cloud cloud = world_cloud();
    ov3d_result result;
    require("segment", ov3d_segment(world.session, &cloud, NULL, &result));
    ov3d_result_view view;
    ov3d_result_view_init(&view, sizeof view);
    require("get", ov3d_result_get(result, &view));
    memcpy(world.labels, view.labels, sizeof world.labels);
    ov3d_result_free(result);
}

void world_close(void) {
    ov3d_session_free(world.session);
    ov3d_vocabulary_free(world.words);
    ov3d_model_free(world.ones);
    ov3d_model_free(world.colors);
}

bool good_call(void) {
    int32_t labels[POINTS];
    ov3d_cloud cloud = world_cloud();
    ov3d_segment_desc desc = segment_defaults();
    desc.labels = labels;
    desc.labels_capacity = POINTS;
    ov3d_result result;
    if (ov3d_segment(world.session, &cloud, &desc, &result) != OV3D_OK) {
        return false;
    }
    ov3d_result_free(result);
    return ov3d_last_error(NULL, 0) == 1 && memcmp(labels, world.labels, sizeof labels) == 0;
}

void arm_again(void) { memcpy(&armed, &out, sizeof out); }

void arm(void) {
    memset(&out, POISON_BYTE, sizeof out);
    ov3d_device_info_init(&out.device_info, sizeof out.device_info);
    ov3d_model_info_init(&out.model_info, sizeof out.model_info);
    ov3d_session_info_init(&out.session_info, sizeof out.session_info);
    ov3d_result_view_init(&out.view, sizeof out.view);
    ov3d_timings_init(&out.timings, sizeof out.timings);
    arm_again();
}

static void then_a_good_call(const char *file, int line, const char *what) {
    if (!good_call()) {
        fail(file, line, what, "the next good call does not work");
    }
}

void check_refused(const char *file, int line, const char *what, ov3d_status got, ov3d_status want,
                   const char *mentions) {
    cases++;
    char message[1024];
    size_t needed = ov3d_last_error(message, sizeof message);
    char why[2048];
    if (got != want) {
        snprintf(why, sizeof why, "%s instead of %s: %s", ov3d_status_name(got), ov3d_status_name(want), message);
        fail(file, line, what, why);
    } else if (strstr(message, mentions) == NULL) {
        snprintf(why, sizeof why, "the message does not mention '%s': %s", mentions, message);
        fail(file, line, what, why);
    } else if (needed != strlen(message) + 1) {
        fail(file, line, what, "the message's length is wrong");
    } else if (strncmp(ov3d_status_name(got), "OV3D_ERROR_", 11) != 0) {
        fail(file, line, what, ov3d_status_name(got));
    } else if (ov3d_status_is_recoverable(got) != (got != OV3D_ERROR_INTERNAL)) {
        fail(file, line, what, "recoverable does not fit");
    } else if (memcmp(&armed, &out, sizeof out) != 0) {
        fail(file, line, what, "an out-parameter was touched");
    }
    then_a_good_call(file, line, what);
}

void check_plain(const char *file, int line, const char *what, bool holds) {
    cases++;
    if (!holds) {
        char message[1024];
        ov3d_last_error(message, sizeof message);
        char why[1200];
        snprintf(why, sizeof why, "does not hold (last error: '%s')", message);
        fail(file, line, what, why);
    }
}

void check_holds(const char *file, int line, const char *what, bool holds) {
    check_plain(file, line, what, holds);
    then_a_good_call(file, line, what);
}

int summary(const char *program) {
    printf("%s: %d cases, %d failed\n", program, cases, failed);
    fflush(stdout);
    return failed == 0 ? 0 : 1;
}

int32_t hold_run(float fraction, void *user_data) {
    (void)fraction;
    struct hold *hold = user_data;
    atomic_store(&hold->entered, 1);
    double end = now_ms() + 20000.0;
    while (!atomic_load(&hold->released) && now_ms() < end) {
        sleep_ms(0.2);
    }
    return hold->answer;
}

ov3d_result begin_held(ov3d_session session, const ov3d_cloud *cloud, struct hold *hold) {
    atomic_store(&hold->entered, 0);
    atomic_store(&hold->released, 0);
    ov3d_segment_desc desc = segment_defaults();
    desc.progress = hold_run;
    desc.user_data = hold;
    ov3d_result result = NULL;
    require("begin a held run", ov3d_segment_begin(session, cloud, &desc, &result));
    while (!atomic_load(&hold->entered)) {
        sleep_ms(0.2);
    }
    return result;
}

void release(struct hold *hold) { atomic_store(&hold->released, 1); }
