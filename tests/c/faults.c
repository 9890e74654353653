// faults.c - a panic in every export and a failure of every large allocation, on a library built for it.
//
// Usage: faults FOLDER panics EXPORTS, where EXPORTS lists the functions that must be covered, or
//        faults FOLDER allocations [WHAT [FIRST]]

#include "check.h"
#include "faults.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Points of the cloud of the allocation tests, and the repeats and embeddings that make requests large.
#define MANY 6000
#define WORDS 5000
#define DIM 32
// Calls in a row without an error after which no allocation is left to fail.
#define QUIET 3

static float many[MANY][3];
static float *embeddings;
static const char **names;
static ov3d_result kept;

static void prepare(void) {
    fill_points(many, MANY, 3);
    embeddings = malloc(sizeof *embeddings * WORDS * DIM);
    names = malloc(sizeof *names * WORDS);
    if (embeddings == NULL || names == NULL) {
        exit(2);
    }
    fill_embeddings(embeddings, WORDS, DIM);
    for (size_t i = 0; i < WORDS; i++) {
        names[i] = "a word";
    }
    ov3d_cloud cloud = ov3d_cloud_xyz(&many[0][0], MANY);
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    PLAIN("a queryable result", ov3d_segment(world.session, &cloud, &desc, &kept) == OV3D_OK);
}

static void unprepare(void) {
    ov3d_result_free(kept);
    free(embeddings);
    free(names);
}

static ov3d_status load_model(void) {
    ov3d_status status = ov3d_model_load(in_folder("wide.safetensors"), NULL, &out.model);
    if (status == OV3D_OK) {
        ov3d_model_free(out.model);
    }
    return status;
}

static unsigned char *model_bytes;
static size_t model_size;

static ov3d_status load_model_memory(void) {
    ov3d_status status = ov3d_model_load_memory(model_bytes, model_size, NULL, &out.model);
    if (status == OV3D_OK) {
        ov3d_model_free(out.model);
    }
    return status;
}

static ov3d_status make_vocabulary(void) {
    ov3d_status status = ov3d_vocabulary_from_embeddings(embeddings, WORDS, DIM, names, NULL, &out.vocabulary);
    if (status == OV3D_OK) {
        ov3d_vocabulary_free(out.vocabulary);
    }
    return status;
}

static ov3d_status make_grouped_vocabulary(void) {
    static uint32_t labels[WORDS];
    for (uint32_t i = 0; i < WORDS; i++) {
        labels[i] = i / 2;
    }
    ov3d_vocabulary_desc desc;
    ov3d_vocabulary_desc_init(&desc, sizeof desc);
    desc.label_of_row = labels;
    ov3d_status status = ov3d_vocabulary_from_embeddings(embeddings, WORDS, DIM, names, &desc, &out.vocabulary);
    if (status == OV3D_OK) {
        ov3d_vocabulary_free(out.vocabulary);
    }
    return status;
}

static ov3d_vocabulary large_vocabulary;
// Few names with long rows: names are stored as JSON, whose reader cannot be made to fail.
static ov3d_vocabulary stored_vocabulary;

static ov3d_text_encoder encoder;

static ov3d_status load_text_encoder(void) {
    ov3d_text_encoder loaded = NULL;
    ov3d_status status = ov3d_text_encoder_load(in_folder("tower"), NULL, &loaded);
    if (status == OV3D_OK) {
        ov3d_text_encoder_free(loaded);
    }
    return status;
}

static ov3d_status encode(void) { return ov3d_text_encoder_encode(encoder, names, WORDS, embeddings, WORDS * DIM); }

static ov3d_status vocabulary_of_texts(void) {
    static uint32_t labels[WORDS];
    for (uint32_t i = 0; i < WORDS; i++) {
        labels[i] = i / 2;
    }
    const char *const templates[] = {"a {}", "{}"};
    ov3d_vocabulary_desc desc;
    ov3d_vocabulary_desc_init(&desc, sizeof desc);
    desc.label_of_row = labels;
    desc.templates = templates;
    desc.template_count = 2;
    ov3d_status status = ov3d_vocabulary_from_texts(encoder, names, WORDS, &desc, &out.vocabulary);
    if (status == OV3D_OK) {
        ov3d_vocabulary_free(out.vocabulary);
    }
    return status;
}

static ov3d_status save_vocabulary(void) { return ov3d_vocabulary_save(stored_vocabulary, in_folder("saved")); }

static ov3d_status load_vocabulary(void) {
    ov3d_status status = ov3d_vocabulary_load(in_folder("saved"), &out.vocabulary);
    if (status == OV3D_OK) {
        ov3d_vocabulary_free(out.vocabulary);
    }
    return status;
}

static ov3d_status create_session(void) {
    ov3d_status status = ov3d_session_create(world.ones, NULL, &out.session);
    if (status == OV3D_OK) {
        ov3d_session_free(out.session);
    }
    return status;
}

static ov3d_session fresh_session;

static ov3d_status set_vocabulary(void) { return ov3d_session_set_vocabulary(fresh_session, large_vocabulary); }

static ov3d_status segment_with(ov3d_session session, const ov3d_segment_desc *desc, bool colored) {
    static uint8_t colors[MANY][3];
    ov3d_cloud cloud = ov3d_cloud_xyz(&many[0][0], MANY);
    if (colored) {
        cloud.colors = (ov3d_strided_view){.data = colors, .stride_bytes = 3, .dtype = OV3D_DTYPE_U8, .components = 3};
    }
    ov3d_status status = ov3d_segment(session, &cloud, desc, &out.result);
    if (status == OV3D_OK) {
        ov3d_result_free(out.result);
    }
    return status;
}

static ov3d_status segment_plainly(void) { return segment_with(world.session, NULL, false); }

static ov3d_status segment_with_all(void) {
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_LOGITS | OV3D_OUTPUT_TEXT_FEATURES | OV3D_OUTPUT_QUERYABLE;
    desc.top_k = 3;
    desc.similarity = OV3D_SIMILARITY_COSINE;
    desc.temperature = 0.1f;
    desc.grid_origin = OV3D_GRID_WORLD;
    return segment_with(world.session, &desc, false);
}

static ov3d_status segment_with_trunk(void) {
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_TRUNK_FEATURES;
    return segment_with(world.session, &desc, false);
}

static ov3d_status segment_repeatedly(void) {
    ov3d_segment_desc desc = segment_defaults();
    desc.repeats = 2;
    desc.top_k = 2;
    return segment_with(world.session, &desc, false);
}

static ov3d_session color_session;

static ov3d_status segment_colored(void) {
    ov3d_segment_desc desc = segment_defaults();
    desc.representative = OV3D_REPRESENTATIVE_CANONICAL;
    return segment_with(color_session, &desc, true);
}

static ov3d_status segment_many_words(void) {
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_LOGITS;
    return segment_with(fresh_session, &desc, false);
}

static ov3d_status segment_with_vote(void) {
    ov3d_superpoint_desc superpoints;
    ov3d_superpoint_desc_init(&superpoints, sizeof superpoints);
    ov3d_segment_desc desc = segment_defaults();
    desc.superpoints = &superpoints;
    desc.outputs = OV3D_OUTPUT_TRUNK_FEATURES;
    desc.vote = OV3D_VOTE_SCORES;
    desc.vote_weight = OV3D_VOTE_WEIGHT_MARGIN;
    return segment_with(world.session, &desc, false);
}

static ov3d_status superpoints_of(int32_t method) {
    ov3d_cloud cloud = ov3d_cloud_xyz(&many[0][0], MANY);
    ov3d_superpoint_desc desc;
    ov3d_superpoint_desc_init(&desc, sizeof desc);
    desc.method = method;
    ov3d_status status = ov3d_superpoints(&cloud, &desc, &out.result);
    if (status == OV3D_OK) {
        ov3d_result_free(out.result);
    }
    return status;
}

static ov3d_status superpoints_vccs(void) { return superpoints_of(OV3D_SUPERPOINTS_VCCS); }
static ov3d_status superpoints_pcl(void) { return superpoints_of(OV3D_SUPERPOINTS_VCCS_PCL); }
static ov3d_status superpoints_graph(void) { return superpoints_of(OV3D_SUPERPOINTS_GRAPH); }

// The first run of a model at published widths, which also packs its weights.
static ov3d_status first_run(void) {
    const char *number = getenv("OV3D_FAIL_ALLOCATION");
    char kept_number[16];
    snprintf(kept_number, sizeof kept_number, "%s", number);
    unsetenv("OV3D_FAIL_ALLOCATION");
    ov3d_model model = NULL;
    ov3d_session session = NULL;
    require("a model", ov3d_model_load_memory(model_bytes, model_size, NULL, &model));
    require("a session", ov3d_session_create(model, NULL, &session));
    require("its vocabulary", ov3d_session_set_vocabulary(session, world.words));
    setenv("OV3D_FAIL_ALLOCATION", kept_number, 1);
    ov3d_cloud cloud = world_cloud();
    ov3d_status status = ov3d_segment(session, &cloud, NULL, &out.result);
    // What comes next must not change the message.
    ov3d_session_free(session);
    ov3d_model_free(model);
    if (status == OV3D_OK) {
        ov3d_result_free(out.result);
    }
    return status;
}

static ov3d_status segment_batch(void) {
    ov3d_cloud clouds[3] = {ov3d_cloud_xyz(&many[0][0], MANY / 2), ov3d_cloud_xyz(&many[MANY / 2][0], MANY / 2),
                            ov3d_cloud_xyz(NULL, 0)};
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    ov3d_status status = ov3d_segment_batch(world.session, clouds, 3, &desc, out.results);
    for (int i = 0; i < 3 && status == OV3D_OK; i++) {
        ov3d_result_free(out.results[i]);
    }
    return status;
}

static ov3d_status query(void) {
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_LOGITS;
    desc.top_k = 2;
    ov3d_status status = ov3d_session_query(world.session, kept, large_vocabulary, &desc, &out.result);
    if (status == OV3D_OK) {
        ov3d_result_free(out.result);
    }
    return status;
}

// More live handles than any table starts with room for.
static ov3d_status many_handles(void) {
    enum { HANDLES = 20000 };
    static ov3d_vocabulary handles[HANDLES];
    static const float row[2] = {1.0f, 0.0f};
    static const char *const name = "a";
    ov3d_status status = OV3D_OK;
    int made = 0;
    while (made < HANDLES && status == OV3D_OK) {
        status = ov3d_vocabulary_from_embeddings(row, 1, 2, &name, NULL, &handles[made]);
        made += status == OV3D_OK;
    }
    while (made > 0) {
        ov3d_vocabulary_free(handles[--made]);
    }
    return status;
}

static const struct {
    const char *what;
    ov3d_status (*action)(void);
} ACTIONS[] = {
    {"model_load", load_model},
    {"model_load_memory", load_model_memory},
    {"from_embeddings", make_vocabulary},
    {"grouped", make_grouped_vocabulary},
    {"encoder_load", load_text_encoder},
    {"encode", encode},
    {"from_texts", vocabulary_of_texts},
    {"vocabulary_save", save_vocabulary},
    {"vocabulary_load", load_vocabulary},
    {"session_create", create_session},
    {"set_vocabulary", set_vocabulary},
    {"segment", segment_plainly},
    {"all_outputs", segment_with_all},
    {"trunk", segment_with_trunk},
    {"repeats", segment_repeatedly},
    {"colors", segment_colored},
    {"many_words", segment_many_words},
    {"vote", segment_with_vote},
    {"vccs", superpoints_vccs},
    {"vccs_pcl", superpoints_pcl},
    {"graph", superpoints_graph},
    {"first_run", first_run},
    {"batch", segment_batch},
    {"query", query},
    {"many_handles", many_handles},
};

static void fail_each_allocation(const char *what, ov3d_status (*action)(void), int first) {
    int failures = 0;
    for (int n = first, quiet = 0; quiet < QUIET; n++) {
        char number[16];
        snprintf(number, sizeof number, "%d", n);
        // A line per attempt: the last one names the allocation if the process dies.
        fprintf(stdout, "%s %d\n", what, n);
        fflush(stdout);
        arm();
        setenv("OV3D_FAIL_ALLOCATION", number, 1);
        ov3d_status status = action();
        unsetenv("OV3D_FAIL_ALLOCATION");
        if (status == OV3D_OK) {
            quiet++;
            continue;
        }
        quiet = 0;
        failures++;
        bool memory = status == OV3D_ERROR_OUT_OF_MEMORY;
        bool file = strstr(what, "load") != NULL || strstr(what, "save") != NULL;
        check_refused(__FILE__, __LINE__, what, status,
                      file && status == OV3D_ERROR_IO ? OV3D_ERROR_IO : OV3D_ERROR_OUT_OF_MEMORY,
                      memory ? "memory" : "");
    }
    printf("%s: %d allocations failed\n", what, failures);
}

static void fail_allocations(const char *only, int first) {
    prepare();
    PLAIN("a text encoder", ov3d_text_encoder_load(in_folder("tower"), NULL, &encoder) == OV3D_OK);
    PLAIN("a large vocabulary",
          ov3d_vocabulary_from_embeddings(embeddings, WORDS, DIM, names, NULL, &large_vocabulary) == OV3D_OK);
    PLAIN("a vocabulary to store", ov3d_vocabulary_from_embeddings(embeddings, 200, WORDS * DIM / 200, names, NULL,
                                                                   &stored_vocabulary) == OV3D_OK);
    PLAIN("a saved vocabulary", save_vocabulary() == OV3D_OK);
    model_bytes = read_whole("wide.safetensors", &model_size);
    PLAIN("a session", ov3d_session_create(world.ones, NULL, &fresh_session) == OV3D_OK);
    PLAIN("its vocabulary", ov3d_session_set_vocabulary(fresh_session, large_vocabulary) == OV3D_OK);
    PLAIN("a session for colours", ov3d_session_create(world.colors, NULL, &color_session) == OV3D_OK);
    PLAIN("its vocabulary", ov3d_session_set_vocabulary(color_session, world.words) == OV3D_OK);
    for (size_t i = 0; i < sizeof ACTIONS / sizeof ACTIONS[0]; i++) {
        if (only == NULL || strcmp(only, ACTIONS[i].what) == 0) {
            fail_each_allocation(ACTIONS[i].what, ACTIONS[i].action, first);
        }
    }
    ov3d_session_free(fresh_session);
    ov3d_session_free(color_session);
    ov3d_text_encoder_free(encoder);
    ov3d_vocabulary_free(large_vocabulary);
    ov3d_vocabulary_free(stored_vocabulary);
    free(model_bytes);
    unprepare();
}

// Sends stderr to a file and says afterwards how much came.
static long bytes_on_stderr(void) {
    fflush(stderr);
    struct stat information;
    return fstat(STDERR_FILENO, &information) == 0 ? (long)information.st_size : -1;
}

int main(int count, char **arguments) {
    if (count < 3) {
        printf("usage: faults FOLDER panics EXPORTS | allocations [WHAT [FIRST]]\n");
        return 2;
    }
    world_open(arguments[1]);
    int before = dup(STDERR_FILENO);
    int file = open(in_folder("stderr.txt"), O_CREAT | O_TRUNC | O_RDWR, 0600);
    bool panics = strcmp(arguments[2], "panics") == 0;
    // A process that runs out of memory in earnest may say so on the real stderr.
    if (panics && (file < 0 || dup2(file, STDERR_FILENO) < 0)) {
        return 2;
    }
    if (panics) {
        panic_everywhere(count > 3 ? arguments[3] : "");
        PLAIN("nothing came on stderr", bytes_on_stderr() == 0);
        dup2(before, STDERR_FILENO);
    } else {
        fail_allocations(count > 3 ? arguments[3] : NULL, count > 4 ? atoi(arguments[4]) : 0);
    }
    close(before);
    close(file);
    world_close();
    return summary(arguments[2]);
}
