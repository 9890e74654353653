// misuse_handles.c - NULL, stale, foreign, doubly freed and wrong-kind handles, for every function that takes one.

#include "check.h"
#include "misuse.h"
#include <string.h>

#define HANDLE(bits) ((void *)(uintptr_t)(bits))

struct bad {
    const char *what;
    void *handle;
    ov3d_status status;
};

// Every function that takes a model, with `bad` in its place.
static void as_model(const struct bad *bad) {
    ov3d_model model = bad->handle;
    REFUSED(bad->what, ov3d_model_info_get(model, &out.model_info), bad->status, "model");
    REFUSED(bad->what, ov3d_session_create(model, NULL, &out.session), bad->status, "model");
    ov3d_model_free(model);
}

static void as_vocabulary(const struct bad *bad) {
    ov3d_vocabulary vocabulary = bad->handle;
    REFUSED(bad->what, ov3d_session_set_vocabulary(world.session, vocabulary), bad->status, "vocabulary");
    REFUSED(bad->what, ov3d_vocabulary_save(vocabulary, in_folder("never")), bad->status, "vocabulary");
    HOLDS(bad->what, ov3d_vocabulary_size(vocabulary) == 0 && ov3d_vocabulary_name(vocabulary, 0) == NULL);
    ov3d_vocabulary_free(vocabulary);
}

static void as_session(const struct bad *bad, ov3d_result ready) {
    ov3d_session session = bad->handle;
    ov3d_cloud cloud = world_cloud();
    REFUSED(bad->what, ov3d_session_set_vocabulary(session, world.words), bad->status, "session");
    REFUSED(bad->what, ov3d_session_info_get(session, &out.session_info), bad->status, "session");
    REFUSED(bad->what, ov3d_segment(session, &cloud, NULL, &out.result), bad->status, "session");
    REFUSED(bad->what, ov3d_segment_begin(session, &cloud, NULL, &out.result), bad->status, "session");
    REFUSED(bad->what, ov3d_segment_batch(session, &cloud, 1, NULL, out.results), bad->status, "session");
    REFUSED(bad->what, ov3d_session_query(session, ready, world.words, NULL, &out.result), bad->status, "session");
    REFUSED(bad->what, ov3d_session_cancel(session), bad->status, "session");
    ov3d_session_free(session);
}

static void as_result(const struct bad *bad) {
    ov3d_result result = bad->handle;
    REFUSED(bad->what, ov3d_result_wait(result, UINT64_MAX), bad->status, "result");
    REFUSED(bad->what, ov3d_result_get(result, &out.view), bad->status, "result");
    REFUSED(bad->what, ov3d_result_timings_get(result, &out.timings), bad->status, "result");
    REFUSED(bad->what, ov3d_session_query(world.session, result, world.words, NULL, &out.result), bad->status,
            "result");
    HOLDS(bad->what, ov3d_result_ready(result) == 0);
    ov3d_result_free(result);
}

static ov3d_result queryable(void) {
    ov3d_cloud cloud = world_cloud();
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    ov3d_result result = NULL;
    ov3d_status status = ov3d_segment(world.session, &cloud, &desc, &result);
    PLAIN("a queryable result", status == OV3D_OK);
    return result;
}

static void count_lines(int32_t level, const char *message, void *lines) {
    (void)level;
    (void)message;
    atomic_fetch_add((atomic_int *)lines, 1);
}

static void freed_twice(void) {
    atomic_int lines = 0;
    ov3d_log_desc log;
    ov3d_log_desc_init(&log, sizeof log);
    log.callback = count_lines;
    log.user_data = &lines;
    PLAIN("a log", ov3d_log_set(&log) == OV3D_OK);

    ov3d_model model = NULL;
    PLAIN("a model", ov3d_model_load(in_folder("ones.safetensors"), NULL, &model) == OV3D_OK);
    ov3d_session session = NULL;
    PLAIN("a session", ov3d_session_create(model, NULL, &session) == OV3D_OK);
    ov3d_vocabulary vocabulary = NULL;
    PLAIN("a vocabulary", ov3d_vocabulary_load(in_folder("words.safetensors"), &vocabulary) == OV3D_OK);
    ov3d_result result = queryable();
    ov3d_model_free(model);
    ov3d_session_free(session);
    ov3d_vocabulary_free(vocabulary);
    ov3d_result_free(result);
    HOLDS("freeing once says nothing", atomic_load(&lines) == 0);
    ov3d_model_free(model);
    HOLDS("a model freed twice is a line in the log", atomic_load(&lines) == 1);
    ov3d_session_free(session);
    HOLDS("a session freed twice is a line in the log", atomic_load(&lines) == 2);
    ov3d_vocabulary_free(vocabulary);
    HOLDS("a vocabulary freed twice is a line in the log", atomic_load(&lines) == 3);
    ov3d_result_free(result);
    HOLDS("a result freed twice is a line in the log", atomic_load(&lines) == 4);
    ov3d_model_free(NULL);
    ov3d_session_free(NULL);
    ov3d_vocabulary_free(NULL);
    ov3d_result_free(NULL);
    HOLDS("freeing NULL says nothing", atomic_load(&lines) == 4);
    PLAIN("no log", ov3d_log_set(NULL) == OV3D_OK);

    const struct bad stale[] = {
        {"stale model", model, OV3D_ERROR_INVALID_HANDLE},
        {"stale vocabulary", vocabulary, OV3D_ERROR_INVALID_HANDLE},
        {"stale session", session, OV3D_ERROR_INVALID_HANDLE},
        {"stale result", result, OV3D_ERROR_INVALID_HANDLE},
    };
    ov3d_result ready = queryable();
    as_model(&stale[0]);
    as_vocabulary(&stale[1]);
    as_session(&stale[2], ready);
    as_result(&stale[3]);

    // The slot is used again under a new generation: the old handle stays stale.
    ov3d_model again = NULL;
    PLAIN("a model in the freed slot", ov3d_model_load(in_folder("ones.safetensors"), NULL, &again) == OV3D_OK);
    as_model(&stale[0]);
    ov3d_model_info info;
    ov3d_model_info_init(&info, sizeof info);
    HOLDS("the new one lives", again != model && ov3d_model_info_get(again, &info) == OV3D_OK);
    ov3d_model_free(again);
    ov3d_result_free(ready);
}

void misuse_of_handles(void) {
    ov3d_result ready = queryable();
    int local = 0;
    const struct bad everywhere[] = {
        {"NULL", NULL, OV3D_ERROR_INVALID_ARGUMENT},
        {"the number 1", HANDLE(1), OV3D_ERROR_INVALID_HANDLE},
        {"the number -1", HANDLE(UINTPTR_MAX), OV3D_ERROR_INVALID_HANDLE},
        {"random bits", HANDLE(0xDEADBEEFCAFEF00Du), OV3D_ERROR_INVALID_HANDLE},
        {"an address", &local, OV3D_ERROR_INVALID_HANDLE},
        // The tag of a handle over a slot and a generation that never were.
        {"a made-up handle", HANDLE(0x1A00000000000000u | 0x0FFFFFFu), OV3D_ERROR_INVALID_HANDLE},
    };
    for (size_t i = 0; i < sizeof everywhere / sizeof everywhere[0]; i++) {
        as_model(&everywhere[i]);
        as_vocabulary(&everywhere[i]);
        as_session(&everywhere[i], ready);
        as_result(&everywhere[i]);
    }
    const struct bad wrong[] = {
        {"a vocabulary as model", world.words, OV3D_ERROR_INVALID_HANDLE},
        {"a model as vocabulary", world.ones, OV3D_ERROR_INVALID_HANDLE},
        {"a result as session", ready, OV3D_ERROR_INVALID_HANDLE},
        {"a session as result", world.session, OV3D_ERROR_INVALID_HANDLE},
    };
    as_model(&wrong[0]);
    as_vocabulary(&wrong[1]);
    as_session(&wrong[2], ready);
    as_result(&wrong[3]);
    HOLDS("freeing as another kind frees nothing",
          ov3d_vocabulary_size(world.words) > 0 && ov3d_result_ready(ready) == 1);
    ov3d_result_free(ready);
    freed_twice();
}
