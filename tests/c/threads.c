// threads.c - eight sessions over one model in eight threads, and handles made and freed by all of them at once.
//
// Usage: threads FOLDER [FRAMES]

#include "check.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 8

struct worker {
    pthread_t thread;
    int frames;
    int wrong;
    ov3d_result shared;
    atomic_int *lines;
};

static void must_be(struct worker *worker, bool right) { worker->wrong += !right; }

// A frame: labels of the same cloud, by both ways of calling.
static void segment_frame(struct worker *worker, ov3d_session session, int frame) {
    ov3d_cloud cloud = world_cloud();
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    ov3d_result result = NULL, answer = NULL;
    ov3d_status status = frame % 2 ? ov3d_segment(session, &cloud, &desc, &result)
                                   : ov3d_segment_begin(session, &cloud, &desc, &result);
    must_be(worker, status == OV3D_OK && ov3d_result_wait(result, UINT64_MAX) == OV3D_OK);
    ov3d_result_view view;
    ov3d_result_view_init(&view, sizeof view);
    must_be(worker, ov3d_result_get(result, &view) == OV3D_OK && view.labels != NULL &&
                        memcmp(view.labels, world.labels, sizeof world.labels) == 0);
    must_be(worker, ov3d_session_query(session, worker->shared, world.words, NULL, &answer) == OV3D_OK);
    ov3d_result_free(result);
    must_be(worker, ov3d_result_get(answer, &view) == OV3D_OK && view.labels != NULL &&
                        memcmp(view.labels, world.labels, sizeof world.labels) == 0);
    ov3d_result_free(answer);
}

// Handles that come and go; errors keep their messages per thread.
static void churn(struct worker *worker) {
    for (int i = 0; i < 50; i++) {
        const float row[2] = {1, 0};
        const char *const name = "a";
        ov3d_vocabulary vocabulary = NULL;
        must_be(worker, ov3d_vocabulary_from_embeddings(row, 1, 2, &name, NULL, &vocabulary) == OV3D_OK);
        must_be(worker, ov3d_vocabulary_size(vocabulary) == 1 && ov3d_vocabulary_size(world.words) == 6);
        ov3d_vocabulary_free(vocabulary);
        must_be(worker, ov3d_vocabulary_size(vocabulary) == 0);
        must_be(worker, ov3d_vocabulary_save(vocabulary, "never") == OV3D_ERROR_INVALID_HANDLE);
        must_be(worker, ov3d_last_error(NULL, 0) > 1);
        must_be(worker, ov3d_result_ready(worker->shared) == 1 && ov3d_result_wait(worker->shared, 0) == OV3D_OK);
        must_be(worker, ov3d_last_error(NULL, 0) == 1);
    }
}

static void *work(void *argument) {
    struct worker *worker = argument;
    ov3d_session_desc desc;
    ov3d_session_desc_init(&desc, sizeof desc);
    desc.threads = 1;
    ov3d_session session = NULL;
    must_be(worker, ov3d_session_create(world.ones, &desc, &session) == OV3D_OK);
    must_be(worker, ov3d_session_set_vocabulary(session, world.words) == OV3D_OK);
    for (int frame = 0; frame < worker->frames; frame++) {
        segment_frame(worker, session, frame);
        churn(worker);
    }
    ov3d_session_free(session);
    return NULL;
}

static void count_line(int32_t level, const char *message, void *lines) {
    (void)message;
    atomic_fetch_add((atomic_int *)lines, level);
}

// Sets and clears the log while the others work.
static void *disturb(void *argument) {
    struct worker *worker = argument;
    for (int i = 0; i < 100; i++) {
        ov3d_log_desc desc;
        ov3d_log_desc_init(&desc, sizeof desc);
        desc.callback = count_line;
        desc.user_data = worker->lines;
        must_be(worker, ov3d_log_set(&desc) == OV3D_OK);
        sleep_ms(0.1);
        must_be(worker, ov3d_log_set(NULL) == OV3D_OK);
        int silent = atomic_load(worker->lines);
        sleep_ms(0.1);
        // No callback runs once the log is cleared.
        must_be(worker, atomic_load(worker->lines) == silent);
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count < 2) {
        printf("usage: threads FOLDER [FRAMES]\n");
        return 2;
    }
    world_open(arguments[1]);
    ov3d_cloud cloud = world_cloud();
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    ov3d_result shared = NULL;
    require("a shared result", ov3d_segment(world.session, &cloud, &desc, &shared));
    atomic_int lines = 0;
    struct worker workers[THREADS + 1] = {0};
    for (int i = 0; i <= THREADS; i++) {
        workers[i].frames = count > 2 ? atoi(arguments[2]) : 6;
        workers[i].shared = shared;
        workers[i].lines = &lines;
        PLAIN("a thread", pthread_create(&workers[i].thread, NULL, i < THREADS ? work : disturb, &workers[i]) == 0);
    }
    for (int i = 0; i <= THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        HOLDS("a thread's work", workers[i].wrong == 0);
    }
    ov3d_result_free(shared);
    world_close();
    return summary("threads");
}
