// misuse_sessions.c - sessions without words, in use, cancelled, freed in flight, and short of memory.

#include "check.h"
#include "misuse.h"
#include <pthread.h>
#include <string.h>

static ov3d_session new_session(ov3d_model model, uint64_t budget) {
    ov3d_session_desc desc;
    ov3d_session_desc_init(&desc, sizeof desc);
    desc.threads = 1;
    desc.memory_budget = budget;
    ov3d_session session = NULL;
    PLAIN("a session", ov3d_session_create(model, &desc, &session) == OV3D_OK);
    return session;
}

static void creation(void) {
    ov3d_session_desc desc;
    ov3d_session_desc_init(&desc, sizeof desc);
    desc.device = 1000;
    REFUSED("a device", ov3d_session_create(world.ones, &desc, &out.session), OV3D_ERROR_INVALID_ARGUMENT,
            "desc.device");
    ov3d_session_desc_init(&desc, sizeof desc);
    desc.threads = 1025;
    REFUSED("threads", ov3d_session_create(world.ones, &desc, &out.session), OV3D_ERROR_INVALID_ARGUMENT,
            "desc.threads");
    desc.threads = UINT32_MAX;
    REFUSED("threads", ov3d_session_create(world.ones, &desc, &out.session), OV3D_ERROR_INVALID_ARGUMENT,
            "desc.threads");
#ifdef OV3D_PRECISION_BF16 // not in the header of interface 1
    ov3d_session_desc_init(&desc, sizeof desc);
    desc.precision = 7;
    REFUSED("a precision", ov3d_session_create(world.ones, &desc, &out.session), OV3D_ERROR_INVALID_ARGUMENT,
            "desc.precision");
    ov3d_session_desc_init(&desc, sizeof desc);
    desc.reserved = 1;
    REFUSED("a reserved field", ov3d_session_create(world.ones, &desc, &out.session), OV3D_ERROR_INVALID_ARGUMENT,
            "desc.reserved");
#endif
}

#ifdef OV3D_PRECISION_BF16
// A session in BF16 labels nearly all points as one in FP32 does.
static void precisions(void) {
    static int32_t labels[2][POINTS];
    for (int half = 0; half < 2; half++) {
        ov3d_session_desc desc;
        ov3d_session_desc_init(&desc, sizeof desc);
        desc.precision = half ? OV3D_PRECISION_BF16 : OV3D_PRECISION_F32;
        ov3d_session session = NULL;
        SUCCEEDS("a session", ov3d_session_create(world.ones, &desc, &session));
        SUCCEEDS("words", ov3d_session_set_vocabulary(session, world.words));
        ov3d_segment_desc segment;
        ov3d_segment_desc_init(&segment, sizeof segment);
        segment.labels = labels[half];
        segment.labels_capacity = POINTS;
        ov3d_cloud cloud = world_cloud();
        ov3d_result result = NULL;
        SUCCEEDS("a run", ov3d_segment(session, &cloud, &segment, &result));
        ov3d_result_free(result);
        ov3d_session_free(session);
    }
    int equal = 0;
    for (int point = 0; point < POINTS; point++)
        equal += labels[0][point] == labels[1][point];
    PLAIN("equal labels", equal * 100 >= POINTS * 95);
}
#endif

static void vocabularies(void) {
    ov3d_cloud cloud = world_cloud();
    ov3d_session session = new_session(world.ones, 0);
    REFUSED("no words", ov3d_segment(session, &cloud, NULL, &out.result), OV3D_ERROR_INVALID_STATE, "vocabulary");
    ov3d_vocabulary misfit = NULL;
    PLAIN("a vocabulary", ov3d_vocabulary_load(in_folder("misfit.safetensors"), &misfit) == OV3D_OK);
    REFUSED("a misfit", ov3d_session_set_vocabulary(session, misfit), OV3D_ERROR_MISMATCH, "vocabulary");
    REFUSED("still no words", ov3d_segment(session, &cloud, NULL, &out.result), OV3D_ERROR_INVALID_STATE,
            "vocabulary");
    REFUSED("a misfit after words", ov3d_session_set_vocabulary(world.session, misfit), OV3D_ERROR_MISMATCH, "33");
    ov3d_vocabulary_free(misfit);
    ov3d_session_free(session);

    session = new_session(world.colors, 0);
    PLAIN("words", ov3d_session_set_vocabulary(session, world.words) == OV3D_OK);
    REFUSED("no colours", ov3d_segment(session, &cloud, NULL, &out.result), OV3D_ERROR_INVALID_ARGUMENT, "colors");
    static uint8_t colors[POINTS][3];
    cloud.colors = (ov3d_strided_view){.data = colors, .stride_bytes = 3, .dtype = OV3D_DTYPE_U8, .components = 3};
    ov3d_result result = NULL;
    SUCCEEDS("colours", ov3d_segment(session, &cloud, NULL, &result));
    ov3d_result_free(result);
    ov3d_session_free(session);
}

static void budgets(void) {
    ov3d_session session = new_session(world.ones, 1000);
    PLAIN("words", ov3d_session_set_vocabulary(session, world.words) == OV3D_OK);
    ov3d_cloud cloud = world_cloud();
    REFUSED("a budget too small", ov3d_segment(session, &cloud, NULL, &out.result), OV3D_ERROR_BUDGET, "bytes");
    REFUSED("it names the budget", ov3d_segment(session, &cloud, NULL, &out.result), OV3D_ERROR_BUDGET, "1000");
    ov3d_session_info info;
    ov3d_session_info_init(&info, sizeof info);
    HOLDS("it says so", ov3d_session_info_get(session, &info) == OV3D_OK && info.bytes_capacity == 1000);
    ov3d_session_free(session);
}

struct other_thread {
    ov3d_session session;
    ov3d_status statuses[4];
    char message[256];
};

// All that another thread must not do while a run is in flight.
static void *intrude(void *argument) {
    struct other_thread *other = argument;
    ov3d_cloud cloud = world_cloud();
    ov3d_result results[1];
    other->statuses[0] = ov3d_segment(other->session, &cloud, NULL, &results[0]);
    ov3d_last_error(other->message, sizeof other->message);
    other->statuses[1] = ov3d_segment_begin(other->session, &cloud, NULL, &results[0]);
    other->statuses[2] = ov3d_segment_batch(other->session, &cloud, 1, NULL, results);
    other->statuses[3] = ov3d_session_set_vocabulary(other->session, world.words);
    return NULL;
}

static void busy(void) {
    struct hold hold = {.answer = 0};
    ov3d_cloud cloud = world_cloud();
    ov3d_session session = new_session(world.ones, 0);
    PLAIN("words", ov3d_session_set_vocabulary(session, world.words) == OV3D_OK);
    ov3d_result held = begin_held(session, &cloud, &hold);
    REFUSED("busy", ov3d_segment(session, &cloud, NULL, &out.result), OV3D_ERROR_BUSY, "session");
    REFUSED("busy", ov3d_segment_begin(session, &cloud, NULL, &out.result), OV3D_ERROR_BUSY, "session");
    REFUSED("busy", ov3d_segment_batch(session, &cloud, 1, NULL, out.results), OV3D_ERROR_BUSY, "session");
    REFUSED("busy", ov3d_session_set_vocabulary(session, world.words), OV3D_ERROR_BUSY, "session");
    REFUSED("not ready", ov3d_result_get(held, &out.view), OV3D_ERROR_INVALID_STATE, "ov3d_result_wait");
    REFUSED("not ready", ov3d_result_timings_get(held, &out.timings), OV3D_ERROR_INVALID_STATE, "ov3d_result_wait");
    REFUSED("not ready", ov3d_session_query(world.session, held, world.words, NULL, &out.result),
            OV3D_ERROR_INVALID_STATE, "ready");
    REFUSED("in time", ov3d_result_wait(held, 1000000), OV3D_ERROR_TIMEOUT, "result");
    ov3d_session_info info;
    ov3d_session_info_init(&info, sizeof info);
    HOLDS("a session in flight describes itself", ov3d_session_info_get(session, &info) == OV3D_OK && info.threads == 1);
    struct other_thread other = {.session = session};
    pthread_t thread;
    PLAIN("a thread", pthread_create(&thread, NULL, intrude, &other) == 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < 4; i++) {
        HOLDS("busy for another thread", other.statuses[i] == OV3D_ERROR_BUSY);
    }
    HOLDS("messages belong to their threads", strstr(other.message, "session") != NULL);
    release(&hold);
    HOLDS("the held run ends well", ov3d_result_wait(held, UINT64_MAX) == OV3D_OK);
    ov3d_result_free(held);
    ov3d_result again = NULL;
    SUCCEEDS("the session is free again", ov3d_segment(session, &cloud, NULL, &again));
    ov3d_result_free(again);
    ov3d_session_free(session);
}

struct monitor {
    ov3d_session session;
    atomic_int stop;
    int looks;
    int wrong;
};

// A host's monitor: looks at a session all the time.
static void *look(void *argument) {
    struct monitor *monitor = argument;
    while (!atomic_load(&monitor->stop)) {
        ov3d_session_info info;
        ov3d_session_info_init(&info, sizeof info);
        monitor->wrong += ov3d_session_info_get(monitor->session, &info) != OV3D_OK;
        monitor->looks++;
    }
    return NULL;
}

static void watched(void) {
    struct monitor monitor = {.session = world.session};
    pthread_t thread;
    PLAIN("a thread", pthread_create(&thread, NULL, look, &monitor) == 0);
    for (int i = 0; i < 10; i++) {
        HOLDS("calls are not disturbed by a monitor", good_call());
    }
    atomic_store(&monitor.stop, 1);
    pthread_join(thread, NULL);
    HOLDS("the monitor sees the session at all times", monitor.wrong == 0);
}

static void *cancel_soon(void *session) {
    sleep_ms(10.0);
    ov3d_session_cancel(session);
    return NULL;
}

static void cancelled(void) {
    ov3d_cloud cloud = world_cloud();
    // By the callback.
    struct hold hold = {.answer = 1};
    atomic_store(&hold.released, 1);
    ov3d_segment_desc desc = segment_defaults();
    desc.progress = hold_run;
    desc.user_data = &hold;
    desc.labels = out.labels;
    desc.labels_capacity = POINTS;
    REFUSED("stopped by the callback", ov3d_segment(world.session, &cloud, &desc, &out.result), OV3D_ERROR_CANCELLED,
            "callback");
    hold.answer = -1;
    desc.repeats = 3;
    REFUSED("stopped by the callback, repeats", ov3d_segment(world.session, &cloud, &desc, &out.result),
            OV3D_ERROR_CANCELLED, "callback");
    // By this thread.
    struct hold held = {.answer = 0};
    ov3d_result result = begin_held(world.session, &cloud, &held);
    PLAIN("cancel", ov3d_session_cancel(world.session) == OV3D_OK);
    release(&held);
    REFUSED("cancelled", ov3d_result_wait(result, UINT64_MAX), OV3D_ERROR_CANCELLED, "cancelled");
    REFUSED("cancelled", ov3d_result_get(result, &out.view), OV3D_ERROR_CANCELLED, "cancelled");
    REFUSED("cancelled", ov3d_session_query(world.session, result, world.words, NULL, &out.result),
            OV3D_ERROR_CANCELLED, "cancelled");
    HOLDS("cancelled is ready", ov3d_result_ready(result) == 1);
    ov3d_result_free(result);
    // By another thread.
    result = begin_held(world.session, &cloud, &held);
    pthread_t thread;
    PLAIN("a thread", pthread_create(&thread, NULL, cancel_soon, world.session) == 0);
    pthread_join(thread, NULL);
    release(&held);
    REFUSED("cancelled by another thread", ov3d_result_wait(result, UINT64_MAX), OV3D_ERROR_CANCELLED, "cancelled");
    ov3d_result_free(result);
    SUCCEEDS("cancelling nothing", ov3d_session_cancel(world.session));
}

static void *release_soon(void *hold) {
    sleep_ms(20.0);
    release(hold);
    return NULL;
}

static void freed_in_flight(void) {
    ov3d_cloud cloud = world_cloud();
    struct hold hold = {.answer = 0};
    pthread_t thread;
    ov3d_session session = new_session(world.ones, 0);
    PLAIN("words", ov3d_session_set_vocabulary(session, world.words) == OV3D_OK);
    // A result: the free waits until the run lets go.
    ov3d_result result = begin_held(session, &cloud, &hold);
    double start = now_ms();
    PLAIN("a thread", pthread_create(&thread, NULL, release_soon, &hold) == 0);
    ov3d_result_free(result);
    HOLDS("freeing a result in flight waits", now_ms() - start >= 15.0);
    pthread_join(thread, NULL);
    REFUSED("it is gone", ov3d_result_wait(result, 0), OV3D_ERROR_INVALID_HANDLE, "result");
    SUCCEEDS("its session works", ov3d_segment(session, &cloud, NULL, &result));
    ov3d_result_free(result);
    // The session: its result ends as cancelled.
    result = begin_held(session, &cloud, &hold);
    start = now_ms();
    PLAIN("a thread", pthread_create(&thread, NULL, release_soon, &hold) == 0);
    ov3d_session_free(session);
    HOLDS("freeing a session in flight waits", now_ms() - start >= 15.0);
    pthread_join(thread, NULL);
    REFUSED("its result", ov3d_result_wait(result, UINT64_MAX), OV3D_ERROR_CANCELLED, "cancelled");
    ov3d_result_free(result);
}

void misuse_of_sessions(void) {
    creation();
#ifdef OV3D_PRECISION_BF16
    precisions();
#endif
    vocabularies();
    budgets();
    busy();
    watched();
    cancelled();
    freed_in_flight();
}
