// misuse_structs.c - struct_size of every descriptor and view, and NULL for every pointer that must not be.

#include "check.h"
#include "misuse.h"
#include <string.h>

// A struct with room after it, as a newer header would have: more than any struct has grown since the first.
#define LONGER(type)                                                                                                   \
    struct {                                                                                                           \
        type known;                                                                                                    \
        unsigned char later[256];                                                                                      \
    }

static const uint32_t BAD_SIZES[] = {0, 4, 9, UINT32_MAX};
#define BAD_SIZE_COUNT (sizeof BAD_SIZES / sizeof BAD_SIZES[0])

// Calls `call` with every bad size in the struct `desc`, of which `call` makes use.
#define BAD_SIZES_ARE_REFUSED(name, desc, call)                                                                        \
    for (size_t size = 0; size < BAD_SIZE_COUNT; size++) {                                                             \
        (desc).struct_size = BAD_SIZES[size];                                                                          \
        REFUSED(name, call, OV3D_ERROR_STRUCT_SIZE, name ".struct_size");                                              \
    }

// A newer header's struct is fine if what this library does not know is zero.
#define LONGER_NEEDS_ZEROS(type, name, call)                                                                           \
    do {                                                                                                               \
        LONGER(type) longer;                                                                                           \
        memset(&longer, 0, sizeof longer);                                                                             \
        type##_init(&longer.known, sizeof longer);                                                                     \
        HOLDS(name ", longer", longer.known.struct_size == sizeof longer);                                             \
        longer.later[sizeof longer.later - 1] = 1;                                                                     \
        const type *given = &longer.known;                                                                             \
        REFUSED(name ", longer and set", call, OV3D_ERROR_STRUCT_SIZE, name ".struct_size");                           \
    } while (0)

static void descriptors(void) {
    ov3d_cloud cloud = world_cloud();
    BAD_SIZES_ARE_REFUSED("ov3d_cloud", cloud, ov3d_segment(world.session, &cloud, NULL, &out.result))
    LONGER_NEEDS_ZEROS(ov3d_cloud, "ov3d_cloud", ov3d_segment(world.session, given, NULL, &out.result));
    cloud = world_cloud();

    ov3d_segment_desc segment = segment_defaults();
    BAD_SIZES_ARE_REFUSED("ov3d_segment_desc", segment, ov3d_segment(world.session, &cloud, &segment, &out.result))
    LONGER_NEEDS_ZEROS(ov3d_segment_desc, "ov3d_segment_desc",
                       ov3d_segment_begin(world.session, &cloud, given, &out.result));

    ov3d_session_desc session;
    ov3d_session_desc_init(&session, sizeof session);
    BAD_SIZES_ARE_REFUSED("ov3d_session_desc", session, ov3d_session_create(world.ones, &session, &out.session))
    LONGER_NEEDS_ZEROS(ov3d_session_desc, "ov3d_session_desc", ov3d_session_create(world.ones, given, &out.session));

    ov3d_model_desc model;
    ov3d_model_desc_init(&model, sizeof model);
    BAD_SIZES_ARE_REFUSED("ov3d_model_desc", model,
                          ov3d_model_load(in_folder("ones.safetensors"), &model, &out.model))
    LONGER_NEEDS_ZEROS(ov3d_model_desc, "ov3d_model_desc", ov3d_model_load("nowhere", given, &out.model));

    const float row[2] = {1, 0};
    const char *const name = "a word";
    ov3d_vocabulary_desc vocabulary;
    ov3d_vocabulary_desc_init(&vocabulary, sizeof vocabulary);
    BAD_SIZES_ARE_REFUSED("ov3d_vocabulary_desc", vocabulary,
                          ov3d_vocabulary_from_embeddings(row, 1, 2, &name, &vocabulary, &out.vocabulary))
    LONGER_NEEDS_ZEROS(ov3d_vocabulary_desc, "ov3d_vocabulary_desc",
                       ov3d_vocabulary_from_embeddings(row, 1, 2, &name, given, &out.vocabulary));

    ov3d_log_desc log;
    ov3d_log_desc_init(&log, sizeof log);
    BAD_SIZES_ARE_REFUSED("ov3d_log_desc", log, ov3d_log_set(&log))
    LONGER_NEEDS_ZEROS(ov3d_log_desc, "ov3d_log_desc", ov3d_log_set(given));
}

// As BAD_SIZES_ARE_REFUSED for a view among the out-parameters, which the macro sets after they are armed.
#define BAD_VIEWS_ARE_REFUSED(name, view, call)                                                                        \
    for (size_t size = 0; size < BAD_SIZE_COUNT; size++) {                                                             \
        REFUSED(name, ((view).struct_size = BAD_SIZES[size], arm_again(), call), OV3D_ERROR_STRUCT_SIZE,               \
                name ".struct_size");                                                                                  \
    }

static void views(ov3d_result ready) {
    BAD_VIEWS_ARE_REFUSED("ov3d_device_info", out.device_info, ov3d_device_info_get(0, &out.device_info))
    BAD_VIEWS_ARE_REFUSED("ov3d_model_info", out.model_info, ov3d_model_info_get(world.ones, &out.model_info))
    BAD_VIEWS_ARE_REFUSED("ov3d_session_info", out.session_info,
                          ov3d_session_info_get(world.session, &out.session_info))
    BAD_VIEWS_ARE_REFUSED("ov3d_result_view", out.view, ov3d_result_get(ready, &out.view))
    BAD_VIEWS_ARE_REFUSED("ov3d_timings", out.timings, ov3d_result_timings_get(ready, &out.timings))

    // An older header's view is filled as far as it goes, a newer one's rest is zeroed.
    LONGER(ov3d_result_view) view;
    memset(&view, POISON_BYTE, sizeof view);
    view.known.struct_size = offsetof(ov3d_result_view, label_count);
    HOLDS("a short view", ov3d_result_get(ready, &view.known) == OV3D_OK && view.known.points == POINTS &&
                              view.known.label_count == 0x5A5A5A5Au &&
                              view.known.struct_size == offsetof(ov3d_result_view, label_count));
    memset(&view, POISON_BYTE, sizeof view);
    view.known.struct_size = sizeof view;
    bool zeros = ov3d_result_get(ready, &view.known) == OV3D_OK && view.known.labels != NULL;
    for (size_t i = 0; i < sizeof view.later; i++) {
        zeros = zeros && view.later[i] == 0;
    }
    HOLDS("a long view", zeros && view.known.struct_size == sizeof view);

    // An older header's descriptor: what it lacks has its default.
    ov3d_segment_desc desc;
    memset(&desc, 0xFF, sizeof desc);
    desc.struct_size = offsetof(ov3d_segment_desc, similarity);
    desc.outputs = 0;
    ov3d_cloud cloud = world_cloud();
    ov3d_result result = NULL;
    HOLDS("a short descriptor", ov3d_segment(world.session, &cloud, &desc, &result) == OV3D_OK);
    ov3d_result_free(result);

    // _init writes what it is given room for, and nothing to NULL or to less than a descriptor.
    memset(&desc, POISON_BYTE, sizeof desc);
    ov3d_segment_desc_init(&desc, 12);
    HOLDS("a short _init", desc.struct_size == 12 && desc.similarity == OV3D_SIMILARITY_DOT && desc.top_k == 0x5A5A5A5Au);
    memset(&desc, POISON_BYTE, sizeof desc);
    ov3d_segment_desc_init(&desc, 3);
    ov3d_segment_desc_init(NULL, sizeof desc);
    HOLDS("an _init too short", desc.struct_size == 0x5A5A5A5Au);
}

static void null_pointers(ov3d_result ready) {
    ov3d_cloud cloud = world_cloud();
    const float row[2] = {1, 0};
    const char *const name = "a word";
    const char *const no_name = NULL;
    const char *path = in_folder("words.safetensors");
    REFUSED("NULL", ov3d_device_count(NULL), OV3D_ERROR_INVALID_ARGUMENT, "count");
    REFUSED("NULL", ov3d_device_info_get(0, NULL), OV3D_ERROR_INVALID_ARGUMENT, "info");
    REFUSED("NULL", ov3d_model_load(NULL, NULL, &out.model), OV3D_ERROR_INVALID_ARGUMENT, "path");
    REFUSED("NULL", ov3d_model_load(path, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT, "model");
    REFUSED("NULL", ov3d_model_load_memory(NULL, 9, NULL, &out.model), OV3D_ERROR_INVALID_ARGUMENT, "bytes");
    REFUSED("NULL", ov3d_model_load_memory(row, 8, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT, "model");
    REFUSED("NULL", ov3d_model_info_get(world.ones, NULL), OV3D_ERROR_INVALID_ARGUMENT, "info");
    REFUSED("NULL", ov3d_result_get(ready, NULL), OV3D_ERROR_INVALID_ARGUMENT, "view");
    REFUSED("NULL", ov3d_result_timings_get(ready, NULL), OV3D_ERROR_INVALID_ARGUMENT, "timings");
    REFUSED("NULL", ov3d_session_create(world.ones, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT, "session");
    REFUSED("NULL", ov3d_session_info_get(world.session, NULL), OV3D_ERROR_INVALID_ARGUMENT, "info");
    REFUSED("NULL", ov3d_segment(world.session, NULL, NULL, &out.result), OV3D_ERROR_INVALID_ARGUMENT, "cloud");
    REFUSED("NULL", ov3d_segment(world.session, &cloud, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT, "result");
    REFUSED("NULL", ov3d_segment_begin(world.session, NULL, NULL, &out.result), OV3D_ERROR_INVALID_ARGUMENT, "cloud");
    REFUSED("NULL", ov3d_segment_begin(world.session, &cloud, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT, "result");
    REFUSED("NULL", ov3d_segment_batch(world.session, NULL, 2, NULL, out.results), OV3D_ERROR_INVALID_ARGUMENT,
            "cloud");
    REFUSED("NULL", ov3d_segment_batch(world.session, &cloud, 1, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT, "result");
    REFUSED("NULL", ov3d_session_query(world.session, ready, NULL, NULL, &out.result), OV3D_ERROR_INVALID_ARGUMENT,
            "vocabulary");
    REFUSED("NULL", ov3d_session_query(world.session, ready, world.words, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT,
            "out_result");
    REFUSED("NULL", ov3d_vocabulary_from_embeddings(NULL, 1, 2, &name, NULL, &out.vocabulary),
            OV3D_ERROR_INVALID_ARGUMENT, "embeddings");
    REFUSED("NULL", ov3d_vocabulary_from_embeddings(row, 1, 2, NULL, NULL, &out.vocabulary),
            OV3D_ERROR_INVALID_ARGUMENT, "names");
    REFUSED("NULL", ov3d_vocabulary_from_embeddings(row, 1, 2, &no_name, NULL, &out.vocabulary),
            OV3D_ERROR_INVALID_ARGUMENT, "names[0]");
    REFUSED("NULL", ov3d_vocabulary_from_embeddings(row, 1, 2, &name, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT,
            "vocabulary");
    REFUSED("NULL", ov3d_vocabulary_load(NULL, &out.vocabulary), OV3D_ERROR_INVALID_ARGUMENT, "path");
    REFUSED("NULL", ov3d_vocabulary_load(path, NULL), OV3D_ERROR_INVALID_ARGUMENT, "vocabulary");
    REFUSED("NULL", ov3d_vocabulary_load_memory(NULL, 9, &out.vocabulary), OV3D_ERROR_INVALID_ARGUMENT, "bytes");
    REFUSED("NULL", ov3d_vocabulary_load_memory(row, 8, NULL), OV3D_ERROR_INVALID_ARGUMENT, "vocabulary");
    REFUSED("NULL", ov3d_vocabulary_save(world.words, NULL), OV3D_ERROR_INVALID_ARGUMENT, "path");
    HOLDS("no such label", ov3d_vocabulary_name(world.words, 6) == NULL &&
                               ov3d_vocabulary_name(world.words, SIZE_MAX) == NULL);
}

static void enums_and_flags(void) {
    ov3d_model_desc model;
    ov3d_model_desc_init(&model, sizeof model);
    model.flags = 1;
    REFUSED("a flag", ov3d_model_load(in_folder("ones.safetensors"), &model, &out.model), OV3D_ERROR_INVALID_ARGUMENT,
            "desc.flags");
    ov3d_session_desc session;
    ov3d_session_desc_init(&session, sizeof session);
    session.flags = 0x80000000u;
    REFUSED("a flag", ov3d_session_create(world.ones, &session, &out.session), OV3D_ERROR_INVALID_ARGUMENT,
            "desc.flags");
    const int32_t levels[] = {0, 3, -1, INT32_MIN};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        ov3d_log_desc log;
        ov3d_log_desc_init(&log, sizeof log);
        log.level = levels[i];
        REFUSED("a log level", ov3d_log_set(&log), OV3D_ERROR_INVALID_ARGUMENT, "desc.level");
    }
    REFUSED("a device", ov3d_device_info_get(1000, &out.device_info), OV3D_ERROR_INVALID_ARGUMENT, "device");
}

// ov3d_last_error with less room than the message needs.
static void short_messages(void) {
    char whole[512], cut[16], guarded[4] = {'g', 'g', 'g', 'g'};
    PLAIN("an error", ov3d_device_count(NULL) == OV3D_ERROR_INVALID_ARGUMENT);
    size_t needed = ov3d_last_error(NULL, 0);
    PLAIN("its length", needed == ov3d_last_error(whole, sizeof whole) && needed == strlen(whole) + 1);
    PLAIN("cut", ov3d_last_error(cut, sizeof cut) == needed && strlen(cut) == 15 && strncmp(cut, whole, 15) == 0);
    PLAIN("one byte", ov3d_last_error(guarded, 1) == needed && guarded[0] == '\0' && guarded[1] == 'g');
    PLAIN("none", ov3d_last_error(&guarded[2], 0) == needed && guarded[2] == 'g');
    PLAIN("NULL with room", ov3d_last_error(NULL, 100) == needed);
    HOLDS("functions without a status leave it alone",
          (ov3d_status_name(0), ov3d_model_free(NULL), ov3d_last_error(NULL, 0) == needed));
}

void misuse_of_structs(void) {
    ov3d_cloud cloud = world_cloud();
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    ov3d_result ready = NULL;
    PLAIN("a queryable result", ov3d_segment(world.session, &cloud, &desc, &ready) == OV3D_OK);
    descriptors();
    views(ready);
    null_pointers(ready);
    enums_and_flags();
    short_messages();
    ov3d_result_free(ready);
}
