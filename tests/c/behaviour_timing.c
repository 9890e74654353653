// behaviour_timing.c - the floating-point mode, how soon a run stops, and that memory does not grow.

#include "behaviour.h"
#include "check.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
static unsigned mode_get(void) { return _mm_getcsr(); }
static void mode_set(unsigned mode) { _mm_setcsr(mode); }
// All exceptions masked, flush to zero, subnormals are zero, round up; and a sticky flag.
#define ODD_MODE (0x1F80u | 0x8000u | 0x0040u | 0x4000u | 0x0020u)
#else
static unsigned mode_get(void) { return 0; }
static void mode_set(unsigned mode) { (void)mode; }
#define ODD_MODE 0u
#endif

// A digest of all that a run on `session` gives.
static uint64_t digest(ov3d_session session, bool cosine) {
    ov3d_cloud cloud = world_cloud();
    // A pose whose sums depend on the rounding mode.
    static const double pose[12] = {0.1, 0.7, -0.3, 1e-3, -0.7, 0.1, 0.2, 1.0 / 3.0, 0.3, -0.2, 0.9, 1e-300};
    cloud.pose = pose;
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_LOGITS | OV3D_OUTPUT_TEXT_FEATURES;
    desc.similarity = cosine ? OV3D_SIMILARITY_COSINE : OV3D_SIMILARITY_DOT;
    desc.temperature = cosine ? 0.05f : 0.0f;
    ov3d_result result = NULL;
    ov3d_result_view view;
    ov3d_result_view_init(&view, sizeof view);
    uint64_t hash = 14695981039346656037u;
    if (ov3d_segment(session, &cloud, &desc, &result) != OV3D_OK || ov3d_result_get(result, &view) != OV3D_OK) {
        return 0;
    }
    const struct {
        const void *bytes;
        size_t size;
    } parts[] = {{view.labels, view.points * 4},
                 {view.scores, view.points * 4},
                 {view.voxel_of_point, view.points * 4},
                 {view.logits, view.voxels * view.label_count * 4},
                 {view.features, view.voxels * view.feature_dim * 2}};
    for (size_t part = 0; part < sizeof parts / sizeof parts[0]; part++) {
        for (size_t i = 0; i < parts[part].size; i++) {
            hash = (hash ^ ((const unsigned char *)parts[part].bytes)[i]) * 1099511628211u;
        }
    }
    ov3d_result_free(result);
    return hash;
}

static ov3d_session session_of_the_words(const char *model_name, uint32_t threads) {
    ov3d_model model = NULL;
    ov3d_session session = NULL;
    ov3d_session_desc desc;
    ov3d_session_desc_init(&desc, sizeof desc);
    desc.threads = threads;
    PLAIN("a model", ov3d_model_load(in_folder(model_name), NULL, &model) == OV3D_OK);
    PLAIN("a session", ov3d_session_create(model, &desc, &session) == OV3D_OK);
    PLAIN("its vocabulary", ov3d_session_set_vocabulary(session, world.words) == OV3D_OK);
    ov3d_model_free(model);
    return session;
}

void behaviour_of_modes(void) {
    const unsigned before = mode_get();
    for (int cosine = 0; cosine < 2; cosine++) {
        ov3d_session plain = session_of_the_words("ones.safetensors", 2);
        uint64_t want = digest(plain, cosine != 0);
        mode_set(ODD_MODE);
        // What was set, but under instruments that know no such modes.
        const unsigned odd_mode = mode_get();
        // All of it under the odd mode, threads included.
        ov3d_session odd = session_of_the_words("ones.safetensors", 2);
        uint64_t got = digest(odd, cosine != 0);
        unsigned after = mode_get();
        uint64_t same_session = digest(plain, cosine != 0);
        ov3d_status refused = ov3d_result_wait(NULL, 0);
        unsigned after_error = mode_get();
        mode_set(before);
        PLAIN("an error", refused == OV3D_ERROR_INVALID_ARGUMENT);
        HOLDS("there is a result", want != 0);
        HOLDS("results do not depend on the caller's floating-point mode", got == want && same_session == want);
        HOLDS("the caller's floating-point mode stays", after == odd_mode && after_error == odd_mode);
        ov3d_session_free(plain);
        ov3d_session_free(odd);
    }
}

#define LARGE 300000

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#define MOMENTS 32

// Milliseconds from a cancel `moment` milliseconds into a run to the run's end; counts it if it took effect.
static double latency(ov3d_session session, const ov3d_cloud *cloud, double moment, int *cancelled) {
    ov3d_result result = NULL;
    PLAIN("begin", ov3d_segment_begin(session, cloud, NULL, &result) == OV3D_OK);
    sleep_ms(moment);
    double start = now_ms();
    PLAIN("cancel", ov3d_session_cancel(session) == OV3D_OK);
    ov3d_status status = ov3d_result_wait(result, UINT64_MAX);
    double taken = now_ms() - start;
    if (cancelled != NULL) {
        *cancelled += status == OV3D_ERROR_CANCELLED;
    }
    ov3d_result_free(result);
    return taken;
}

void behaviour_of_cancel(void) {
    static float points[LARGE][3];
    fill_points(points, LARGE, 5);
    ov3d_session session = session_of_the_words("wide.safetensors", 0);
    ov3d_cloud cloud = ov3d_cloud_xyz(&points[0][0], LARGE);
    // A whole run first: its time says where the moments lie, and the first run also packs the model's weights.
    double first = latency(session, &cloud, 1.0, NULL);
    ov3d_result whole = NULL;
    double start = now_ms();
    PLAIN("a whole run", ov3d_segment(session, &cloud, NULL, &whole) == OV3D_OK);
    double length = now_ms() - start;
    ov3d_timings timings;
    ov3d_timings_init(&timings, sizeof timings);
    PLAIN("its timings", ov3d_result_timings_get(whole, &timings) == OV3D_OK);
    ov3d_result_free(whole);
    printf("cancel: runs of %.0f ms, of which voxels %.0f, levels %.0f, neighbours %.0f, network %.0f\n", length,
           timings.quantise, timings.levels, timings.kernel_maps, timings.network);
    double before_network = timings.quantise + timings.levels + timings.kernel_maps;
    double latencies[MOMENTS];
    int cancelled = 0;
    for (int i = 0; i < MOMENTS; i++) {
        // The first half of the moments lies in the voxels, levels and neighbours, the second one in the network.
        double part = (double)(i % (MOMENTS / 2)) / (MOMENTS / 2);
        double moment = i < MOMENTS / 2 ? part * before_network : before_network + part * 0.8 * timings.network;
        latencies[i] = latency(session, &cloud, moment, &cancelled);
    }
    // Where a machine is busy with other things while the whole run is measured, later ones end before their moment.
    HOLDS("runs are cancelled", cancelled >= MOMENTS / 2);
    qsort(latencies, MOMENTS, sizeof latencies[0], compare);
    printf("cancel: first run %.2f, later median %.2f, worst %.2f ms of latency\n", first, latencies[MOMENTS / 2],
           latencies[MOMENTS - 1]);

    ov3d_result result = NULL;
    PLAIN("begin", ov3d_segment_begin(session, &cloud, NULL, &result) == OV3D_OK);
    sleep_ms(35.0);
    start = now_ms();
    ov3d_result_free(result);
    printf("freeing a result in flight: %.2f ms\n", now_ms() - start);
    PLAIN("begin", ov3d_segment_begin(session, &cloud, NULL, &result) == OV3D_OK);
    sleep_ms(120.0);
    start = now_ms();
    ov3d_session_free(session);
    printf("freeing a session in flight: %.2f ms\n", now_ms() - start);
    HOLDS("its result is cancelled", ov3d_result_wait(result, UINT64_MAX) == OV3D_ERROR_CANCELLED);
    ov3d_result_free(result);
}

static long resident_kilobytes(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long total = 0, resident = 0;
    if (file == NULL || fscanf(file, "%ld %ld", &total, &resident) != 2) {
        resident = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

// A life of everything but the model's file: what a host does over and over.
static bool round_of_calls(void) {
    const float row[2][2] = {{1.0f, 0.0f}, {0.0f, 1.0f}};
    const char *const names[2] = {"a", "b"};
    ov3d_vocabulary vocabulary = NULL;
    ov3d_result results[2] = {NULL, NULL};
    ov3d_cloud clouds[2] = {world_cloud(), world_cloud()};
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    ov3d_result answer = NULL;
    bool right = ov3d_vocabulary_from_embeddings(&row[0][0], 2, 2, names, NULL, &vocabulary) == OV3D_OK;
    right = right && ov3d_session_set_vocabulary(world.session, world.words) == OV3D_OK;
    right = right && ov3d_session_set_vocabulary(world.session, vocabulary) == OV3D_ERROR_MISMATCH;
    right = right && ov3d_segment_batch(world.session, clouds, 2, &desc, results) == OV3D_OK;
    right = right && ov3d_session_query(world.session, results[0], world.words, NULL, &answer) == OV3D_OK;
    ov3d_result_free(answer);
    ov3d_result_free(results[0]);
    ov3d_result_free(results[1]);
    ov3d_vocabulary_free(vocabulary);
    return right;
}

// Sessions freed at all moments of a short run, near its end above all: nobody may wait for ever, and whatever the result
// was, it is there.
void behaviour_of_frees(void) {
    ov3d_cloud cloud = world_cloud();
    double longest = 0;
    int cancelled = 0;
    bool right = true;
    for (int i = 0; i < 600; i++) {
        ov3d_session session = session_of_the_words("ones.safetensors", 1 + (uint32_t)i % 3);
        ov3d_result result = NULL;
        right = right && ov3d_segment_begin(session, &cloud, NULL, &result) == OV3D_OK;
        double moment = now_ms() + (i % 60) * 0.05;
        while (now_ms() < moment) {
        }
        double start = now_ms();
        ov3d_session_free(session);
        ov3d_status status = ov3d_result_wait(result, UINT64_MAX);
        longest = now_ms() - start > longest ? now_ms() - start : longest;
        right = right && (status == OV3D_OK || status == OV3D_ERROR_CANCELLED);
        cancelled += status == OV3D_ERROR_CANCELLED;
        ov3d_result_free(result);
    }
    HOLDS("sessions freed in flight", right);
    printf("600 sessions freed in flight: %d runs cancelled, the longest wait %.1f ms\n", cancelled, longest);
}

void behaviour_of_memory(void) {
    bool right = true;
    long first = 0;
    for (int i = 0; i < 1000; i++) {
        right = right && round_of_calls();
        if (i == 99) {
            first = resident_kilobytes();
        }
    }
    long growth = resident_kilobytes() - first;
    HOLDS("1000 rounds work", right);
    printf("memory: %ld kB more after 1000 rounds than after 100, of %ld kB\n", growth, first);
    long before = resident_kilobytes();
    for (int i = 0; i < 20; i++) {
        ov3d_session session = session_of_the_words("ones.safetensors", 2);
        ov3d_session_free(session);
    }
    printf("memory: %ld kB more after 20 sessions\n", resident_kilobytes() - before);
}
