// texts.c - text encoders and vocabularies of words: what they give, and every kind of wrong call. Since interface 2.
//
// Usage: texts FOLDER

#include "check.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIM 32
#define HANDLE(bits) ((void *)(uintptr_t)(bits))
#define NOTHING ((ov3d_text_encoder)HANDLE(0x5A5A5A5Au))

static ov3d_text_encoder encoder;
// Written by no call that fails.
static ov3d_text_encoder made = NOTHING;
static const char *const WORDS[] = {"wall", "floor", "chair"};

#define REFUSED_ENCODER(what, call, want, mentions)                                                                    \
    do {                                                                                                               \
        REFUSED(what, call, want, mentions);                                                                           \
        PLAIN(what, made == NOTHING);                                                                                  \
    } while (0)

static ov3d_text_encoder_desc encoder_defaults(void) {
    ov3d_text_encoder_desc desc;
    ov3d_text_encoder_desc_init(&desc, sizeof desc);
    return desc;
}

static ov3d_vocabulary_desc vocabulary_defaults(void) {
    ov3d_vocabulary_desc desc;
    ov3d_vocabulary_desc_init(&desc, sizeof desc);
    return desc;
}

static void embeddings(void) {
    float together[3 * DIM], alone[DIM];
    SUCCEEDS("encode", ov3d_text_encoder_encode(encoder, WORDS, 3, together, 3 * DIM));
    for (int row = 0; row < 3; row++) {
        double length = 0;
        for (int i = 0; i < DIM; i++) {
            length += (double)together[row * DIM + i] * (double)together[row * DIM + i];
        }
        PLAIN("unit length", fabs(length - 1) < 1e-6);
        PLAIN("encode alone", ov3d_text_encoder_encode(encoder, &WORDS[row], 1, alone, DIM) == OV3D_OK);
        PLAIN("the same alone", memcmp(alone, &together[row * DIM], sizeof alone) == 0);
    }
    PLAIN("nothing to encode", ov3d_text_encoder_encode(encoder, NULL, 0, NULL, 0) == OV3D_OK);
    const char *const empty = "";
    PLAIN("the empty text", ov3d_text_encoder_encode(encoder, &empty, 1, alone, DIM) == OV3D_OK);
    unsigned char odd[DIM * 4 + 1];
    PLAIN("an odd address", ov3d_text_encoder_encode(encoder, WORDS, 1, (float *)(void *)(odd + 1), DIM) == OV3D_OK);
    PLAIN("is the same", memcmp(odd + 1, together, DIM * 4) == 0);

    ov3d_text_encoder_info info;
    ov3d_text_encoder_info_init(&info, sizeof info);
    HOLDS("what it is", ov3d_text_encoder_info_get(encoder, &info) == OV3D_OK && info.dim == DIM && info.context == 77 &&
                            info.weight_bytes > 3000000 && strcmp(info.text_space, "custom-32") == 0);
}

static void vocabularies(void) {
    ov3d_vocabulary words = NULL;
    SUCCEEDS("words", ov3d_vocabulary_from_texts(encoder, WORDS, 3, NULL, &words));
    PLAIN("for a model of that space", ov3d_session_set_vocabulary(world.session, words) == OV3D_OK);
    PLAIN("their names", ov3d_vocabulary_size(words) == 3 && strcmp(ov3d_vocabulary_name(words, 2), "chair") == 0);
    ov3d_vocabulary_free(words);
    SUCCEEDS("back", ov3d_session_set_vocabulary(world.session, world.words));

    const char *const templates[] = {"a {}", "{} in a room"};
    const uint32_t labels[] = {1, 0, 1};
    ov3d_vocabulary_desc desc = vocabulary_defaults();
    PLAIN("no label of others by default", desc.other_label == OV3D_LABEL_NONE);
    desc.templates = templates;
    desc.template_count = 2;
    desc.label_of_row = labels;
    desc.other_label = 1;
    desc.other_threshold = 1e9f;
    SUCCEEDS("groups and templates", ov3d_vocabulary_from_texts(encoder, WORDS, 3, &desc, &words));
    HOLDS("labels are named after their first texts",
          ov3d_vocabulary_size(words) == 2 && strcmp(ov3d_vocabulary_name(words, 0), "floor") == 0 &&
              strcmp(ov3d_vocabulary_name(words, 1), "wall") == 0);
    ov3d_cloud cloud = world_cloud();
    ov3d_result result = NULL;
    int32_t got[POINTS];
    ov3d_segment_desc segment = segment_defaults();
    segment.labels = got;
    segment.labels_capacity = POINTS;
    segment.outputs = OV3D_OUTPUT_QUERYABLE;
    PLAIN("its vocabulary", ov3d_session_set_vocabulary(world.session, words) == OV3D_OK);
    PLAIN("segment", ov3d_segment(world.session, &cloud, &segment, &result) == OV3D_OK);
    PLAIN("back", ov3d_session_set_vocabulary(world.session, world.words) == OV3D_OK);
    bool other = true;
    for (int i = 0; i < POINTS; i++) {
        other = other && got[i] == 1;
    }
    HOLDS("no score reaches the threshold", other);
    ov3d_vocabulary_free(words);

    desc = vocabulary_defaults();
    desc.other_label = 2;
    desc.other_threshold = -1e9f;
    desc.flags = OV3D_VOCABULARY_BARE;
    PLAIN("bare words", ov3d_vocabulary_from_texts(encoder, WORDS, 3, &desc, &words) == OV3D_OK);
    ov3d_result answer = NULL;
    SUCCEEDS("query", ov3d_session_query(world.session, result, words, &segment, &answer));
    bool several = false;
    for (int i = 0; i < POINTS; i++) {
        several = several || got[i] != 2;
    }
    HOLDS("every score reaches the threshold", several);
    ov3d_result_free(answer);
    ov3d_result_free(result);
    ov3d_vocabulary_free(words);

    static const struct {
        const char *name;
        size_t labels;
    } presets[] = {{"scannet20", 20}, {"scannet200", 200},     {"matterport21", 21}, {"matterport40", 40},
                   {"replica", 102},  {"matterport160", 160}, {"matterport80", 80}, {"nuscenes16", 16}};
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        PLAIN(presets[i].name, ov3d_vocabulary_from_preset(encoder, presets[i].name, NULL, &words) == OV3D_OK);
        PLAIN(presets[i].name, ov3d_vocabulary_size(words) == presets[i].labels);
        PLAIN(presets[i].name, ov3d_session_set_vocabulary(world.session, words) == OV3D_OK);
        ov3d_vocabulary_free(words);
    }
    PLAIN("back", ov3d_session_set_vocabulary(world.session, world.words) == OV3D_OK);
}

// Words of a vocabulary, which need no encoder.
static void names(void) {
    const char *const asked[] = {"Plant", "wall", "chair"};
    ov3d_vocabulary chosen = NULL;
    SUCCEEDS("names", ov3d_vocabulary_from_names(world.words, asked, 3, NULL, &chosen));
    HOLDS("called as asked", ov3d_vocabulary_size(chosen) == 3 && strcmp(ov3d_vocabulary_name(chosen, 0), "Plant") == 0);
    PLAIN("they fit the session", ov3d_session_set_vocabulary(world.session, chosen) == OV3D_OK);
    PLAIN("back", ov3d_session_set_vocabulary(world.session, world.words) == OV3D_OK);
    ov3d_vocabulary_free(chosen);
    const uint32_t labels[] = {0, 1, 0};
    ov3d_vocabulary_desc desc = vocabulary_defaults();
    desc.label_of_row = labels;
    desc.other_label = 1;
    desc.other_threshold = 1e9f;
    SUCCEEDS("groups", ov3d_vocabulary_from_names(world.words, asked, 3, &desc, &chosen));
    PLAIN("two labels", ov3d_vocabulary_size(chosen) == 2);
    ov3d_cloud cloud = world_cloud();
    ov3d_result result = NULL;
    int32_t got[POINTS];
    ov3d_segment_desc segment = segment_defaults();
    segment.labels = got;
    segment.labels_capacity = POINTS;
    PLAIN("its vocabulary", ov3d_session_set_vocabulary(world.session, chosen) == OV3D_OK);
    PLAIN("segment", ov3d_segment(world.session, &cloud, &segment, &result) == OV3D_OK);
    PLAIN("back", ov3d_session_set_vocabulary(world.session, world.words) == OV3D_OK);
    HOLDS("no score reaches the threshold", got[0] == 1 && got[POINTS - 1] == 1);
    ov3d_result_free(result);
    ov3d_vocabulary_free(chosen);

#define NAMES_REFUSED(what, names, count, mentions)                                                                    \
    REFUSED(what, ov3d_vocabulary_from_names(world.words, names, count, &desc, &out.vocabulary),                       \
            OV3D_ERROR_INVALID_ARGUMENT, mentions)
    desc = vocabulary_defaults();
    const char *wrong[] = {"wall", "chairs", "floor"};
    NAMES_REFUSED("a name that is none", wrong, 3, "'chairs'; the nearest of its 6 are 'chair'");
    wrong[1] = NULL;
    NAMES_REFUSED("NULL", wrong, 3, "names[1]");
    wrong[1] = "caf\xE9";
    NAMES_REFUSED("no UTF-8", wrong, 3, "names[1]");
    wrong[1] = "";
    NAMES_REFUSED("the empty name", wrong, 3, "''");
    NAMES_REFUSED("no names", asked, 0, "label");
    NAMES_REFUSED("no place of names", NULL, 2, "names");
    desc.flags = OV3D_VOCABULARY_BARE;
    NAMES_REFUSED("a flag for texts", asked, 3, "desc.flags");
    desc.flags = 0;
    desc.template_count = 1;
    NAMES_REFUSED("a template", asked, 3, "desc.template_count");
    desc = vocabulary_defaults();
    desc.other_label = 3;
    NAMES_REFUSED("a label of others that is none", asked, 3, "3");
    REFUSED("NULL", ov3d_vocabulary_from_names(world.words, asked, 3, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT,
            "vocabulary");
    REFUSED("NULL", ov3d_vocabulary_from_names(NULL, asked, 3, NULL, &out.vocabulary), OV3D_ERROR_INVALID_ARGUMENT,
            "source");
    REFUSED("an encoder", ov3d_vocabulary_from_names((ov3d_vocabulary)(void *)encoder, asked, 3, NULL, &out.vocabulary),
            OV3D_ERROR_INVALID_HANDLE, "source");
    desc = vocabulary_defaults();
    desc.struct_size = 9;
    REFUSED("a size", ov3d_vocabulary_from_names(world.words, asked, 3, &desc, &out.vocabulary), OV3D_ERROR_STRUCT_SIZE,
            "ov3d_vocabulary_desc.struct_size");
}

static void handles(void) {
    float row[DIM];
    ov3d_text_encoder freed = NULL;
    PLAIN("an encoder", ov3d_text_encoder_load(in_folder("tower"), NULL, &freed) == OV3D_OK);
    ov3d_text_encoder_free(freed);
    ov3d_text_encoder_free(freed);
    ov3d_text_encoder_free(NULL);
    const struct {
        const char *what;
        void *handle;
        ov3d_status status;
    } bad[] = {
        {"NULL", NULL, OV3D_ERROR_INVALID_ARGUMENT},          {"the number 1", HANDLE(1), OV3D_ERROR_INVALID_HANDLE},
        {"an address", row, OV3D_ERROR_INVALID_HANDLE},       {"stale", freed, OV3D_ERROR_INVALID_HANDLE},
        {"a model", world.ones, OV3D_ERROR_INVALID_HANDLE},   {"a session", world.session, OV3D_ERROR_INVALID_HANDLE},
        {"a vocabulary", world.words, OV3D_ERROR_INVALID_HANDLE},
    };
    ov3d_text_encoder_info info;
    ov3d_text_encoder_info_init(&info, sizeof info);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ov3d_text_encoder given = bad[i].handle;
        REFUSED(bad[i].what, ov3d_text_encoder_info_get(given, &info), bad[i].status, "encoder");
        REFUSED(bad[i].what, ov3d_text_encoder_encode(given, WORDS, 1, out.scores, POINTS), bad[i].status, "encoder");
        REFUSED(bad[i].what, ov3d_vocabulary_from_texts(given, WORDS, 3, NULL, &out.vocabulary), bad[i].status,
                "encoder");
        REFUSED(bad[i].what, ov3d_vocabulary_from_preset(given, "scannet20", NULL, &out.vocabulary), bad[i].status,
                "encoder");
        ov3d_text_encoder_free(bad[i].handle == encoder ? NULL : given);
    }
    REFUSED("an encoder as model", ov3d_session_create((ov3d_model)(void *)encoder, NULL, &out.session),
            OV3D_ERROR_INVALID_HANDLE, "model");
    HOLDS("freeing as another kind frees nothing", ov3d_text_encoder_info_get(encoder, &info) == OV3D_OK);
}

static void structs(void) {
    static const uint32_t sizes[] = {0, 4, 9, UINT32_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ov3d_text_encoder_desc desc = encoder_defaults();
        desc.struct_size = sizes[i];
        REFUSED_ENCODER("a size", ov3d_text_encoder_load(in_folder("tower"), &desc, &made), OV3D_ERROR_STRUCT_SIZE,
                        "ov3d_text_encoder_desc.struct_size");
        ov3d_vocabulary_desc words = vocabulary_defaults();
        words.struct_size = sizes[i];
        REFUSED("a size", ov3d_vocabulary_from_texts(encoder, WORDS, 3, &words, &out.vocabulary),
                OV3D_ERROR_STRUCT_SIZE, "ov3d_vocabulary_desc.struct_size");
        REFUSED("a size", ov3d_vocabulary_from_preset(encoder, "scannet20", &words, &out.vocabulary),
                OV3D_ERROR_STRUCT_SIZE, "ov3d_vocabulary_desc.struct_size");
        ov3d_text_encoder_info info;
        info.struct_size = sizes[i];
        REFUSED("a size", ov3d_text_encoder_info_get(encoder, &info), OV3D_ERROR_STRUCT_SIZE,
                "ov3d_text_encoder_info.struct_size");
    }
    // The descriptor of interface 1 ended before the templates.
    ov3d_vocabulary_desc words;
    memset(&words, 0xFF, sizeof words);
    words.struct_size = offsetof(ov3d_vocabulary_desc, templates);
    words.flags = 0;
    words.text_space = NULL;
    words.label_of_row = NULL;
    ov3d_vocabulary vocabulary = NULL;
    SUCCEEDS("an older descriptor", ov3d_vocabulary_from_texts(encoder, WORDS, 3, &words, &vocabulary));
    ov3d_vocabulary_free(vocabulary);
}

static void loading(void) {
    REFUSED_ENCODER("NULL", ov3d_text_encoder_load(NULL, NULL, &made), OV3D_ERROR_INVALID_ARGUMENT, "path");
    REFUSED("NULL", ov3d_text_encoder_load(in_folder("tower"), NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT, "encoder");
    REFUSED_ENCODER("a missing file", ov3d_text_encoder_load("no/such/tower", NULL, &made), OV3D_ERROR_IO,
                    "no/such/tower");
    REFUSED_ENCODER("a folder without it", ov3d_text_encoder_load(world.folder, NULL, &made), OV3D_ERROR_IO,
                    "model.safetensors");
    REFUSED_ENCODER("a path that is no UTF-8", ov3d_text_encoder_load("caf\xE9", NULL, &made),
                    OV3D_ERROR_INVALID_ARGUMENT, "path");
    REFUSED_ENCODER("another format", ov3d_text_encoder_load(in_folder("ply.ply"), NULL, &made), OV3D_ERROR_FORMAT,
                    "ply.ply");
    REFUSED_ENCODER("a network", ov3d_text_encoder_load(in_folder("ones.safetensors"), NULL, &made), OV3D_ERROR_FORMAT,
                    "text_model.");
    const struct {
        const char *field;
        uint32_t threads, flags;
        int32_t precision, overflow;
    } wrong[] = {
        {"desc.threads", 1025, 0, 0, 0},  {"desc.flags", 0, 1, 0, 0},     {"desc.precision", 0, 0, 4, 0},
        {"desc.precision", 0, 0, -1, 0},  {"desc.overflow", 0, 0, 0, 2},  {"desc.overflow", 0, 0, 0, INT32_MIN},
        {"desc.threads", UINT32_MAX, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ov3d_text_encoder_desc desc = encoder_defaults();
        desc.threads = wrong[i].threads;
        desc.flags = wrong[i].flags;
        desc.precision = wrong[i].precision;
        desc.overflow = wrong[i].overflow;
        REFUSED_ENCODER(wrong[i].field, ov3d_text_encoder_load(in_folder("tower"), &desc, &made),
                        OV3D_ERROR_INVALID_ARGUMENT, wrong[i].field);
    }
    ov3d_text_encoder_desc desc = encoder_defaults();
    desc.text_space = "\xFF";
    REFUSED_ENCODER("a space that is no text", ov3d_text_encoder_load(in_folder("tower"), &desc, &made),
                    OV3D_ERROR_INVALID_ARGUMENT, "desc.text_space");
    // Another space does not fit the model, and the message names both.
    desc.text_space = "clip-of-another-kind";
    desc.precision = OV3D_PRECISION_BF16;
    desc.threads = 1;
    ov3d_text_encoder other = NULL;
    SUCCEEDS("another space", ov3d_text_encoder_load(in_folder("tower/model.safetensors"), &desc, &other));
    ov3d_vocabulary vocabulary = NULL;
    PLAIN("its words", ov3d_vocabulary_from_texts(other, WORDS, 3, NULL, &vocabulary) == OV3D_OK);
    REFUSED("another space", ov3d_session_set_vocabulary(world.session, vocabulary), OV3D_ERROR_MISMATCH,
            "clip-of-another-kind");
    ov3d_vocabulary_free(vocabulary);
    ov3d_text_encoder_free(other);
}

static void wrong_texts(void) {
    const char *texts[3] = {"a", "b", "c"};
    REFUSED("no texts", ov3d_text_encoder_encode(encoder, NULL, 2, out.scores, POINTS), OV3D_ERROR_INVALID_ARGUMENT,
            "texts");
    REFUSED("no place", ov3d_text_encoder_encode(encoder, texts, 2, NULL, POINTS), OV3D_ERROR_INVALID_ARGUMENT, "out");
    REFUSED("too little room", ov3d_text_encoder_encode(encoder, texts, 3, out.scores, 3 * DIM - 1),
            OV3D_ERROR_CAPACITY, "96");
    REFUSED("too many", ov3d_text_encoder_encode(encoder, texts, SIZE_MAX / 4, out.scores, POINTS),
            OV3D_ERROR_INVALID_ARGUMENT, "texts");
    texts[1] = NULL;
    REFUSED("a NULL text", ov3d_text_encoder_encode(encoder, texts, 3, out.scores, POINTS), OV3D_ERROR_INVALID_ARGUMENT,
            "texts[1]");
    REFUSED("a NULL text", ov3d_vocabulary_from_texts(encoder, texts, 3, NULL, &out.vocabulary),
            OV3D_ERROR_INVALID_ARGUMENT, "texts[1]");
    texts[1] = "caf\xE9";
    REFUSED("no UTF-8", ov3d_text_encoder_encode(encoder, texts, 3, out.scores, POINTS), OV3D_ERROR_INVALID_ARGUMENT,
            "texts[1]");
    char longest[20001];
    for (size_t i = 0; i < sizeof longest; i++) {
        longest[i] = i % 2 ? ' ' : '7';
    }
    longest[200] = '\0';
    texts[1] = longest;
    REFUSED("a text of too many tokens", ov3d_text_encoder_encode(encoder, texts, 3, out.scores, POINTS),
            OV3D_ERROR_INVALID_ARGUMENT, "75");
    REFUSED("a text of too many tokens", ov3d_vocabulary_from_texts(encoder, texts, 3, NULL, &out.vocabulary),
            OV3D_ERROR_INVALID_ARGUMENT, "text 1");
    ov3d_text_encoder_desc desc = encoder_defaults();
    desc.overflow = OV3D_OVERFLOW_TRUNCATE;
    ov3d_text_encoder cutting = NULL;
    float rows[3 * DIM];
    PLAIN("one that truncates", ov3d_text_encoder_load(in_folder("tower"), &desc, &cutting) == OV3D_OK);
    SUCCEEDS("a text cut", ov3d_text_encoder_encode(cutting, texts, 3, rows, 3 * DIM));
    longest[200] = ' ';
    longest[20000] = '\0';
    REFUSED("a text of too many bytes", ov3d_text_encoder_encode(encoder, texts, 3, out.scores, POINTS),
            OV3D_ERROR_INVALID_ARGUMENT, "8192");
    SUCCEEDS("so many bytes cut", ov3d_text_encoder_encode(cutting, texts, 3, rows, 3 * DIM));
    ov3d_text_encoder_free(cutting);
}

static void wrong_vocabularies(void) {
#define WORDS_REFUSED(what, mentions)                                                                                  \
    REFUSED(what, ov3d_vocabulary_from_texts(encoder, WORDS, 3, &desc, &out.vocabulary), OV3D_ERROR_INVALID_ARGUMENT,  \
            mentions)
    ov3d_vocabulary_desc desc = vocabulary_defaults();
    REFUSED("no texts", ov3d_vocabulary_from_texts(encoder, WORDS, 0, NULL, &out.vocabulary),
            OV3D_ERROR_INVALID_ARGUMENT, "label");
    REFUSED("NULL", ov3d_vocabulary_from_texts(encoder, WORDS, 3, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT,
            "vocabulary");
    REFUSED("NULL", ov3d_vocabulary_from_preset(encoder, "scannet20", NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT,
            "vocabulary");
    REFUSED("NULL", ov3d_vocabulary_from_preset(encoder, NULL, NULL, &out.vocabulary), OV3D_ERROR_INVALID_ARGUMENT,
            "name");
    REFUSED("no such preset", ov3d_vocabulary_from_preset(encoder, "scannet21", NULL, &out.vocabulary),
            OV3D_ERROR_INVALID_ARGUMENT, "scannet200");
    desc.flags = 2;
    WORDS_REFUSED("a flag", "desc.flags");
    desc.flags = OV3D_VOCABULARY_BARE;
    REFUSED("a flag for texts", ov3d_vocabulary_from_embeddings(out.scores, 1, 2, WORDS, &desc, &out.vocabulary),
            OV3D_ERROR_INVALID_ARGUMENT, "desc.flags");
    const char *templates[2] = {"a {}", "nothing"};
    desc.templates = templates;
    desc.template_count = 2;
    WORDS_REFUSED("bare and templates", "OV3D_VOCABULARY_BARE");
    desc.flags = 0;
    WORDS_REFUSED("a template without a place", "nothing");
    templates[1] = "{} and {}";
    WORDS_REFUSED("a template of two places", "{} and {}");
    templates[1] = NULL;
    WORDS_REFUSED("a NULL template", "desc.templates[1]");
    templates[1] = "\xC3 {}";
    WORDS_REFUSED("a template that is no UTF-8", "desc.templates[1]");
    desc.template_count = UINT64_MAX;
    WORDS_REFUSED("too many templates", "desc.templates");
    desc.templates = NULL;
    desc.template_count = 1;
    WORDS_REFUSED("no templates", "desc.templates");
    desc = vocabulary_defaults();
    desc.other_label = 3;
    WORDS_REFUSED("a label of others that is none", "3");
    desc.other_label = -2;
    WORDS_REFUSED("a label of others below none", "desc.other_label");
    desc.other_label = 1;
    desc.other_threshold = NAN;
    WORDS_REFUSED("a threshold that is no number", "NaN");
    desc = vocabulary_defaults();
    const uint32_t gaps[] = {0, 2, 2};
    desc.label_of_row = gaps;
    WORDS_REFUSED("labels with gaps", "desc.label_of_row");
}

static void *encode_often(void *same) {
    float want[DIM], got[DIM];
    bool equal = ov3d_text_encoder_encode(encoder, &WORDS[2], 1, want, DIM) == OV3D_OK;
    for (int i = 0; i < 30 && equal; i++) {
        equal = ov3d_text_encoder_encode(encoder, &WORDS[2], 1, got, DIM) == OV3D_OK &&
                memcmp(want, got, sizeof got) == 0;
    }
    *(bool *)same = equal;
    return NULL;
}

static void threads(void) {
    pthread_t started[4];
    bool same[4] = {false};
    for (int i = 0; i < 4; i++) {
        PLAIN("a thread", pthread_create(&started[i], NULL, encode_often, &same[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(started[i], NULL);
        PLAIN("the same on every thread", same[i]);
    }
}

int main(int count, char **arguments) {
    if (count < 2) {
        printf("usage: texts FOLDER\n");
        return 2;
    }
    world_open(arguments[1]);
    require("text encoder", ov3d_text_encoder_load(in_folder("tower"), NULL, &encoder));
    embeddings();
    vocabularies();
    names();
    handles();
    structs();
    loading();
    wrong_texts();
    wrong_vocabularies();
    threads();
    ov3d_text_encoder_free(encoder);
    world_close();
    return summary("texts");
}
