// panics.c - a panic inside every export: an internal error or the documented default, and nothing else.

#include "check.h"
#include "faults.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What the calls work on; made before a panic is armed.
static struct {
    ov3d_model model;
    ov3d_text_encoder encoder;
    ov3d_vocabulary vocabulary;
    ov3d_session session;
    ov3d_result result;
    ov3d_cloud cloud;
    float row[2];
    const char *name;
    ov3d_text_encoder no_encoder;
} given;

static ov3d_text_encoder_info encoder_info;

static bool internal(ov3d_status status) { return status == OV3D_ERROR_INTERNAL; }

// The bytes of a struct that its _init function must leave alone.
static bool poisoned(const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (((const unsigned char *)bytes)[i] != POISON_BYTE) {
            return false;
        }
    }
    return true;
}

#define INIT(type)                                                                                                     \
    static bool call_##type##_init(void) {                                                                             \
        type value;                                                                                                    \
        memset(&value, POISON_BYTE, sizeof value);                                                                     \
        type##_init(&value, sizeof value);                                                                             \
        return poisoned(&value, sizeof value);                                                                         \
    }
INIT(ov3d_cloud)
INIT(ov3d_device_info)
INIT(ov3d_log_desc)
INIT(ov3d_model_desc)
INIT(ov3d_model_info)
INIT(ov3d_result_view)
INIT(ov3d_segment_desc)
INIT(ov3d_session_desc)
INIT(ov3d_session_info)
INIT(ov3d_superpoint_desc)
INIT(ov3d_text_encoder_desc)
INIT(ov3d_text_encoder_info)
INIT(ov3d_timings)
INIT(ov3d_vocabulary_desc)

// `call` returns a status, which must be the internal error.
#define STATUS(name, call)                                                                                             \
    static bool call_##name(void) { return internal(call); }
STATUS(ov3d_device_count, ov3d_device_count(&out.number))
STATUS(ov3d_device_info_get, ov3d_device_info_get(0, &out.device_info))
STATUS(ov3d_log_set, ov3d_log_set(NULL))
STATUS(ov3d_model_info_get, ov3d_model_info_get(given.model, &out.model_info))
STATUS(ov3d_model_load, ov3d_model_load(in_folder("ones.safetensors"), NULL, &out.model))
STATUS(ov3d_model_load_memory, ov3d_model_load_memory("", 1, NULL, &out.model))
STATUS(ov3d_result_get, ov3d_result_get(given.result, &out.view))
STATUS(ov3d_result_timings_get, ov3d_result_timings_get(given.result, &out.timings))
STATUS(ov3d_result_wait, ov3d_result_wait(given.result, UINT64_MAX))
STATUS(ov3d_segment, ov3d_segment(given.session, &given.cloud, NULL, &out.result))
STATUS(ov3d_segment_batch, ov3d_segment_batch(given.session, &given.cloud, 1, NULL, out.results))
STATUS(ov3d_segment_begin, ov3d_segment_begin(given.session, &given.cloud, NULL, &out.result))
STATUS(ov3d_session_cancel, ov3d_session_cancel(given.session))
STATUS(ov3d_session_create, ov3d_session_create(given.model, NULL, &out.session))
STATUS(ov3d_session_info_get, ov3d_session_info_get(given.session, &out.session_info))
STATUS(ov3d_session_query,
       ov3d_session_query(given.session, given.result, given.vocabulary, NULL, &out.result))
STATUS(ov3d_session_set_vocabulary, ov3d_session_set_vocabulary(given.session, given.vocabulary))
STATUS(ov3d_superpoints, ov3d_superpoints(&given.cloud, NULL, &out.result))
STATUS(ov3d_text_encoder_encode, ov3d_text_encoder_encode(given.encoder, &given.name, 1, out.scores, POINTS))
STATUS(ov3d_text_encoder_info_get, ov3d_text_encoder_info_get(given.encoder, &encoder_info))
STATUS(ov3d_text_encoder_load, ov3d_text_encoder_load(in_folder("tower"), NULL, &given.no_encoder))
STATUS(ov3d_vocabulary_from_preset, ov3d_vocabulary_from_preset(given.encoder, "scannet20", NULL, &out.vocabulary))
STATUS(ov3d_vocabulary_from_names,
       ov3d_vocabulary_from_names(given.vocabulary, &given.name, 1, NULL, &out.vocabulary))
STATUS(ov3d_vocabulary_from_texts, ov3d_vocabulary_from_texts(given.encoder, &given.name, 1, NULL, &out.vocabulary))
STATUS(ov3d_vocabulary_from_embeddings,
       ov3d_vocabulary_from_embeddings(given.row, 1, 2, &given.name, NULL, &out.vocabulary))
STATUS(ov3d_vocabulary_load, ov3d_vocabulary_load(in_folder("words.safetensors"), &out.vocabulary))
STATUS(ov3d_vocabulary_load_memory, ov3d_vocabulary_load_memory("", 1, &out.vocabulary))
STATUS(ov3d_vocabulary_save, ov3d_vocabulary_save(given.vocabulary, in_folder("never")))

// `condition` holds a call of a function without a status, which must give its default.
#define DEFAULT(name, condition)                                                                                       \
    static bool call_##name(void) { return condition; }
DEFAULT(ov3d_abi_version, ov3d_abi_version() == 0)
DEFAULT(ov3d_last_error, ov3d_last_error(NULL, 0) <= 1)
DEFAULT(ov3d_result_ready, ov3d_result_ready(given.result) == 0)
DEFAULT(ov3d_status_is_recoverable, ov3d_status_is_recoverable(OV3D_ERROR_BUSY) == 0)
DEFAULT(ov3d_status_name, strcmp(ov3d_status_name(OV3D_ERROR_BUSY), "OV3D_ERROR_UNKNOWN") == 0)
DEFAULT(ov3d_version, strncmp(ov3d_version(), "0.1.", 4) == 0)
DEFAULT(ov3d_vocabulary_name, ov3d_vocabulary_name(given.vocabulary, 0) == NULL)
DEFAULT(ov3d_vocabulary_size, ov3d_vocabulary_size(given.vocabulary) == 0)
DEFAULT(ov3d_model_free, (ov3d_model_free(given.model), true))
DEFAULT(ov3d_result_free, (ov3d_result_free(given.result), true))
DEFAULT(ov3d_session_free, (ov3d_session_free(given.session), true))
DEFAULT(ov3d_text_encoder_free, (ov3d_text_encoder_free(given.encoder), given.no_encoder == NULL))
DEFAULT(ov3d_vocabulary_free, (ov3d_vocabulary_free(given.vocabulary), true))

#define ENTRY(name) {#name, call_##name}
static const struct {
    const char *name;
    bool (*call)(void);
} CALLS[] = {
    ENTRY(ov3d_abi_version),
    ENTRY(ov3d_cloud_init),
    ENTRY(ov3d_device_count),
    ENTRY(ov3d_device_info_get),
    ENTRY(ov3d_device_info_init),
    ENTRY(ov3d_last_error),
    ENTRY(ov3d_log_desc_init),
    ENTRY(ov3d_log_set),
    ENTRY(ov3d_model_desc_init),
    ENTRY(ov3d_model_free),
    ENTRY(ov3d_model_info_get),
    ENTRY(ov3d_model_info_init),
    ENTRY(ov3d_model_load),
    ENTRY(ov3d_model_load_memory),
    ENTRY(ov3d_result_free),
    ENTRY(ov3d_result_get),
    ENTRY(ov3d_result_ready),
    ENTRY(ov3d_result_timings_get),
    ENTRY(ov3d_result_view_init),
    ENTRY(ov3d_result_wait),
    ENTRY(ov3d_segment),
    ENTRY(ov3d_segment_batch),
    ENTRY(ov3d_segment_begin),
    ENTRY(ov3d_segment_desc_init),
    ENTRY(ov3d_session_cancel),
    ENTRY(ov3d_session_create),
    ENTRY(ov3d_session_desc_init),
    ENTRY(ov3d_session_free),
    ENTRY(ov3d_session_info_get),
    ENTRY(ov3d_session_info_init),
    ENTRY(ov3d_session_query),
    ENTRY(ov3d_session_set_vocabulary),
    ENTRY(ov3d_status_is_recoverable),
    ENTRY(ov3d_status_name),
    ENTRY(ov3d_superpoint_desc_init),
    ENTRY(ov3d_superpoints),
    ENTRY(ov3d_text_encoder_desc_init),
    ENTRY(ov3d_text_encoder_encode),
    ENTRY(ov3d_text_encoder_free),
    ENTRY(ov3d_text_encoder_info_get),
    ENTRY(ov3d_text_encoder_info_init),
    ENTRY(ov3d_text_encoder_load),
    ENTRY(ov3d_timings_init),
    ENTRY(ov3d_version),
    ENTRY(ov3d_vocabulary_desc_init),
    ENTRY(ov3d_vocabulary_free),
    ENTRY(ov3d_vocabulary_from_embeddings),
    ENTRY(ov3d_vocabulary_from_names),
    ENTRY(ov3d_vocabulary_from_preset),
    ENTRY(ov3d_vocabulary_from_texts),
    ENTRY(ov3d_vocabulary_load),
    ENTRY(ov3d_vocabulary_load_memory),
    ENTRY(ov3d_vocabulary_name),
    ENTRY(ov3d_vocabulary_save),
    ENTRY(ov3d_vocabulary_size),
};

static void panic_in(const char *name) {
    for (size_t i = 0; i < sizeof CALLS / sizeof CALLS[0]; i++) {
        if (strcmp(CALLS[i].name, name) != 0) {
            continue;
        }
        arm();
        unsigned char before[sizeof out];
        memcpy(before, &out, sizeof out);
        setenv("OV3D_INJECT_PANIC", name, 1);
        bool right = CALLS[i].call();
        unsetenv("OV3D_INJECT_PANIC");
        HOLDS(name, right && memcmp(before, &out, sizeof out) == 0);
        return;
    }
    PLAIN(name, false);
}

void panic_everywhere(const char *exports) {
    given.cloud = world_cloud();
    given.row[0] = 1.0f;
    given.name = "a word";
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    PLAIN("a model", ov3d_model_load(in_folder("ones.safetensors"), NULL, &given.model) == OV3D_OK);
    PLAIN("a text encoder", ov3d_text_encoder_load(in_folder("tower"), NULL, &given.encoder) == OV3D_OK);
    PLAIN("a vocabulary", ov3d_vocabulary_load(in_folder("words.safetensors"), &given.vocabulary) == OV3D_OK);
    PLAIN("a session", ov3d_session_create(given.model, NULL, &given.session) == OV3D_OK);
    PLAIN("its vocabulary", ov3d_session_set_vocabulary(given.session, given.vocabulary) == OV3D_OK);
    PLAIN("a result", ov3d_segment(given.session, &given.cloud, &desc, &given.result) == OV3D_OK);

    FILE *file = fopen(exports, "r");
    char name[128];
    int count = 0;
    while (file != NULL && fgets(name, sizeof name, file) != NULL) {
        name[strcspn(name, "\n")] = '\0';
        panic_in(name);
        count++;
    }
    if (file != NULL) {
        fclose(file);
    }
    PLAIN("every export has its call", count == (int)(sizeof CALLS / sizeof CALLS[0]));

    // What was used while it panicked goes on working.
    ov3d_result result = NULL;
    HOLDS("the session works", ov3d_segment(given.session, &given.cloud, NULL, &result) == OV3D_OK);
    ov3d_result_free(result);
    ov3d_result_free(given.result);
    ov3d_session_free(given.session);
    ov3d_vocabulary_free(given.vocabulary);
    ov3d_text_encoder_free(given.encoder);
    ov3d_model_free(given.model);
}
