// behaviour_runs.c - pending results, batches, queries, own buffers, lifetimes and the log.

#include "behaviour.h"
#include "check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ov3d_result_view view_of(ov3d_result result) {
    ov3d_result_view view;
    ov3d_result_view_init(&view, sizeof view);
    require("view", ov3d_result_get(result, &view));
    return view;
}

static bool same_labels(const ov3d_result_view *a, const ov3d_result_view *b) {
    return a->points == b->points && memcmp(a->labels, b->labels, a->points * sizeof *a->labels) == 0 &&
           memcmp(a->scores, b->scores, a->points * sizeof *a->scores) == 0;
}

static void pending_results(void) {
    struct hold hold = {.answer = 0};
    ov3d_cloud cloud = world_cloud();
    ov3d_result result = begin_held(world.session, &cloud, &hold);
    PLAIN("held: not ready", ov3d_result_ready(result) == 0);
    PLAIN("held: no time to wait", ov3d_result_wait(result, 0) == OV3D_ERROR_TIMEOUT);
    double start = now_ms();
    PLAIN("held: 20 ms to wait", ov3d_result_wait(result, 20000000) == OV3D_ERROR_TIMEOUT);
    PLAIN("held: it waited", now_ms() - start >= 19.0);
    release(&hold);
    PLAIN("released: it ends", ov3d_result_wait(result, UINT64_MAX) == OV3D_OK);
    HOLDS("released: ready", ov3d_result_ready(result) == 1);
    HOLDS("released: waiting again is no wait", ov3d_result_wait(result, 0) == OV3D_OK);
    ov3d_result_view view = view_of(result);
    HOLDS("released: the labels are those of every call",
          memcmp(view.labels, world.labels, sizeof world.labels) == 0);
    ov3d_result_free(result);
}

static void batches(void) {
    enum { CLOUDS = 3 };
    static float clouds[CLOUDS][POINTS][3];
    ov3d_cloud batch[CLOUDS];
    ov3d_result results[CLOUDS];
    for (uint32_t i = 0; i < CLOUDS; i++) {
        fill_points(clouds[i], POINTS, 10 + i);
        batch[i] = ov3d_cloud_xyz(&clouds[i][0][0], POINTS - 20 * i);
    }
    SUCCEEDS("segment a batch", ov3d_segment_batch(world.session, batch, CLOUDS, NULL, results));
    for (int i = 0; i < CLOUDS; i++) {
        ov3d_result single = NULL;
        SUCCEEDS("segment its clouds", ov3d_segment(world.session, &batch[i], NULL, &single));
        ov3d_result_view a = view_of(results[i]), b = view_of(single);
        HOLDS("a batch equals single calls",
              same_labels(&a, &b) && a.voxels == b.voxels &&
                  memcmp(a.voxel_of_point, b.voxel_of_point, a.points * sizeof *a.voxel_of_point) == 0 &&
                  memcmp(a.coordinates, b.coordinates, 3 * a.voxels * sizeof *a.coordinates) == 0);
        ov3d_result_free(single);
        ov3d_result_free(results[i]);
    }
    ov3d_session session = NULL;
    require("a session", ov3d_session_create(world.ones, NULL, &session));
    require("its vocabulary", ov3d_session_set_vocabulary(session, world.words));
    for (int i = 0; i < 5; i++) {
        ov3d_result result = NULL;
        SUCCEEDS("a batch of none", ov3d_segment_batch(session, NULL, 0, NULL, NULL));
        SUCCEEDS("a call right after it", ov3d_segment(session, &batch[0], NULL, &result));
        ov3d_result_free(result);
    }
    ov3d_session_free(session);
}

static void queries(void) {
    ov3d_vocabulary few = NULL;
    PLAIN("few words", ov3d_vocabulary_load(in_folder("few.safetensors"), &few) == OV3D_OK);
    ov3d_cloud cloud = world_cloud();
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    ov3d_result kept = NULL;
    SUCCEEDS("a queryable result", ov3d_segment(world.session, &cloud, &desc, &kept));
    for (int32_t similarity = OV3D_SIMILARITY_DOT; similarity <= OV3D_SIMILARITY_COSINE; similarity++) {
        ov3d_segment_desc asked = segment_defaults();
        asked.outputs = OV3D_OUTPUT_LOGITS;
        asked.similarity = similarity;
        asked.top_k = 2;
        ov3d_result answer = NULL, fresh = NULL;
        SUCCEEDS("query", ov3d_session_query(world.session, kept, few, &asked, &answer));
        PLAIN("other words", ov3d_session_set_vocabulary(world.session, few) == OV3D_OK);
        PLAIN("a fresh run", ov3d_segment(world.session, &cloud, &asked, &fresh) == OV3D_OK);
        PLAIN("the words of before", ov3d_session_set_vocabulary(world.session, world.words) == OV3D_OK);
        ov3d_result_view a = view_of(answer), b = view_of(fresh);
        HOLDS("a query equals a fresh run",
              same_labels(&a, &b) && a.label_count == 3 && a.top_k == 2 && a.voxels == b.voxels &&
                  memcmp(a.top_labels, b.top_labels, 2 * a.points * sizeof *a.top_labels) == 0 &&
                  memcmp(a.logits, b.logits, 3 * a.voxels * sizeof *a.logits) == 0);
        ov3d_result_free(answer);
        ov3d_result_free(fresh);
    }
    ov3d_result_free(kept);
    ov3d_vocabulary_free(few);
}

static void own_buffers(void) {
    int32_t labels[POINTS + 1];
    float scores[POINTS + 1];
    memset(labels, POISON_BYTE, sizeof labels);
    memset(scores, POISON_BYTE, sizeof scores);
    ov3d_cloud cloud = world_cloud();
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_LOGITS | OV3D_OUTPUT_TRUNK_FEATURES;
    desc.top_k = 3;
    desc.labels = labels;
    desc.labels_capacity = POINTS;
    desc.scores = scores;
    desc.scores_capacity = POINTS + 1;
    ov3d_result result = NULL;
    SUCCEEDS("segment into own buffers", ov3d_segment(world.session, &cloud, &desc, &result));
    ov3d_result_view view = view_of(result);
    HOLDS("own buffers equal the view", memcmp(labels, view.labels, POINTS * sizeof *labels) == 0 &&
                                            memcmp(scores, view.scores, POINTS * sizeof *scores) == 0);
    int32_t poison;
    memset(&poison, POISON_BYTE, sizeof poison);
    HOLDS("nothing is written past the points",
          labels[POINTS] == poison && memcmp(&scores[POINTS], &poison, sizeof poison) == 0);
    bool fits = view.top_k == 3 && view.feature_dim > 0 && view.features != NULL && view.logits != NULL;
    for (size_t i = 0; fits && i < POINTS; i++) {
        const float *row = view.logits + (size_t)view.voxel_of_point[i] * view.label_count;
        fits = view.top_labels[3 * i] == labels[i] && row[labels[i]] == scores[i] &&
               view.top_scores[3 * i] >= view.top_scores[3 * i + 1];
    }
    HOLDS("labels, top labels and logits agree", fits);
    ov3d_result_free(result);

    ov3d_result second = NULL;
    desc = segment_defaults();
    SUCCEEDS("segment without", ov3d_segment(world.session, &cloud, &desc, &second));
    view = view_of(second);
    HOLDS("what was not asked for is NULL", view.top_labels == NULL && view.top_scores == NULL &&
                                                view.features == NULL && view.logits == NULL && view.top_k == 1 &&
                                                view.feature_dim == 0);
    ov3d_result_free(second);
}

void behaviour_of_runs(void) {
    pending_results();
    batches();
    queries();
    own_buffers();
}

void behaviour_of_lifetimes(void) {
    ov3d_model model = NULL;
    ov3d_vocabulary vocabulary = NULL;
    ov3d_session session = NULL;
    ov3d_result result = NULL, again = NULL;
    PLAIN("a model", ov3d_model_load(in_folder("ones.safetensors"), NULL, &model) == OV3D_OK);
    PLAIN("a vocabulary", ov3d_vocabulary_load(in_folder("words.safetensors"), &vocabulary) == OV3D_OK);
    PLAIN("a session", ov3d_session_create(model, NULL, &session) == OV3D_OK);
    ov3d_model_free(model);
    PLAIN("its vocabulary", ov3d_session_set_vocabulary(session, vocabulary) == OV3D_OK);
    ov3d_vocabulary_free(vocabulary);
    ov3d_cloud cloud = world_cloud();
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    SUCCEEDS("model and vocabulary may go at once", ov3d_segment(session, &cloud, &desc, &result));
    ov3d_session_free(session);
    ov3d_result_view view = view_of(result);
    HOLDS("a result outlives its session", memcmp(view.labels, world.labels, sizeof world.labels) == 0);

    // Of the same file, but not the same model.
    REFUSED("its model is gone", ov3d_session_query(world.session, result, world.words, NULL, &out.result),
            OV3D_ERROR_MISMATCH, "model");
    ov3d_result_free(result);

    PLAIN("another session", ov3d_session_create(world.ones, NULL, &session) == OV3D_OK);
    PLAIN("its vocabulary", ov3d_session_set_vocabulary(session, world.words) == OV3D_OK);
    PLAIN("a queryable result", ov3d_segment(session, &cloud, &desc, &result) == OV3D_OK);
    ov3d_session_free(session);
    SUCCEEDS("any session of the model may query", ov3d_session_query(world.session, result, world.words, NULL, &again));
    ov3d_result_free(result);
    view = view_of(again);
    HOLDS("an answer outlives what it was asked of", memcmp(view.labels, world.labels, sizeof world.labels) == 0);
    ov3d_result_free(again);
}

struct lines {
    atomic_int count;
    char last[256];
    ov3d_status inner;
    char inner_message[256];
};

static void keep_line(int32_t level, const char *message, void *user_data) {
    struct lines *lines = user_data;
    atomic_fetch_add(&lines->count, level >= OV3D_LOG_ERROR && level <= OV3D_LOG_WARNING ? 1 : 1000);
    snprintf(lines->last, sizeof lines->last, "%s", message);
}

static void set_within(int32_t level, const char *message, void *user_data) {
    struct lines *lines = user_data;
    keep_line(level, message, lines);
    lines->inner = ov3d_log_set(NULL);
    ov3d_last_error(lines->inner_message, sizeof lines->inner_message);
}

static void use_within(int32_t level, const char *message, void *user_data) {
    struct lines *lines = user_data;
    keep_line(level, message, lines);
    lines->inner = ov3d_result_wait(NULL, 0);
}

void behaviour_of_the_log(void) {
    static struct lines lines;
    ov3d_log_desc desc;
    ov3d_log_desc_init(&desc, sizeof desc);
    desc.user_data = &lines;
    desc.callback = keep_line;
    SUCCEEDS("set a log", ov3d_log_set(&desc));
    HOLDS("good calls say nothing", atomic_load(&lines.count) == 0);
    PLAIN("an error", ov3d_model_info_get(NULL, NULL) == OV3D_ERROR_INVALID_ARGUMENT);
    char message[256];
    ov3d_last_error(message, sizeof message);
    PLAIN("an error is a line", atomic_load(&lines.count) == 1);
    PLAIN("with the function's name", strstr(lines.last, "ov3d_model_info_get") != NULL);
    PLAIN("and the message", strstr(lines.last, message) != NULL);

    desc.level = OV3D_LOG_ERROR;
    PLAIN("errors alone", ov3d_log_set(&desc) == OV3D_OK);
    ov3d_model_free(world.words != NULL ? (ov3d_model)(void *)(uintptr_t)3 : NULL);
    HOLDS("warnings stay away", atomic_load(&lines.count) == 1);

    desc.callback = set_within;
    PLAIN("a log that sets itself", ov3d_log_set(&desc) == OV3D_OK);
    PLAIN("an error", ov3d_device_count(NULL) == OV3D_ERROR_INVALID_ARGUMENT);
    PLAIN("setting within is refused", lines.inner == OV3D_ERROR_INVALID_STATE && atomic_load(&lines.count) == 2);
    PLAIN("and says why", strstr(lines.inner_message, "callback") != NULL);
    ov3d_last_error(message, sizeof message);
    HOLDS("the outer message stays", strstr(message, "count") != NULL);

    desc.callback = use_within;
    PLAIN("a log that calls back", ov3d_log_set(&desc) == OV3D_OK);
    PLAIN("an error", ov3d_device_count(NULL) == OV3D_ERROR_INVALID_ARGUMENT);
    HOLDS("errors within a callback say nothing",
          lines.inner == OV3D_ERROR_INVALID_ARGUMENT && atomic_load(&lines.count) == 3);

    SUCCEEDS("silence", ov3d_log_set(NULL));
    PLAIN("an error", ov3d_device_count(NULL) == OV3D_ERROR_INVALID_ARGUMENT);
    HOLDS("silence is silent", atomic_load(&lines.count) == 3);
}
