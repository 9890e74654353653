/* words.c - label a cloud with plain words, from a text encoder or from a vocabulary file that has them. */
#include <openvocab3d.h>
#include <stdio.h>

enum { COUNT = 6000 };

/* x y z in metres, z up. */
static float points[3 * COUNT];

/* Floor and two walls of a room corner, 4 m wide; replace it by your own points. */
static void make_points(void) {
    for (int i = 0; i < COUNT; i++) {
        float *point = points + 3 * i;
        point[i % 3] = (float)(i * 37 % 1024) / 256.0f;
        point[(i + 1) % 3] = (float)(i * 101 % 1021) / 256.0f;
        point[(i + 2) % 3] = 0.0f;
    }
}

/* With an encoder any text is a label: it goes into the published template "a {} in a scene". */
static ov3d_status encode(const char *path, const char *const *words, size_t count, ov3d_vocabulary *vocabulary) {
    ov3d_text_encoder encoder = NULL;
    ov3d_status status = ov3d_text_encoder_load(path, NULL, &encoder);
    if (status == OV3D_OK) {
        status = ov3d_vocabulary_from_texts(encoder, words, count, NULL, vocabulary);
    }
    ov3d_text_encoder_free(encoder); /* The vocabulary does not need it any more. */
    return status;
}

/* A vocabulary file takes the encoder's place in a program that ships: 1,412 names come with the library. */
static ov3d_status make_vocabulary(const char *path, const char *const *words, size_t count,
                                   ov3d_vocabulary *vocabulary) {
    ov3d_vocabulary file = NULL;
    if (ov3d_vocabulary_load(path, &file) != OV3D_OK) {
        return encode(path, words, count, vocabulary);
    }
    ov3d_status status = ov3d_vocabulary_from_names(file, words, count, NULL, vocabulary);
    ov3d_vocabulary_free(file);
    return status;
}

static void print_labels(ov3d_vocabulary vocabulary, const ov3d_result_view *view) {
    for (int32_t label = 0; label < (int32_t)view->label_count; label++) {
        unsigned count = 0;
        for (uint64_t i = 0; i < view->points; i++) {
            count += view->labels[i] == label;
        }
        printf("%s: %u points\n", ov3d_vocabulary_name(vocabulary, (size_t)label), count);
    }
}

static void print_error(void) {
    char message[1024];
    ov3d_last_error(message, sizeof message);
    fprintf(stderr, "words: %s\n", message);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: words MODEL (ENCODER | VOCABULARY) WORD...\n");
        return 2;
    }
    ov3d_model model = NULL;
    ov3d_vocabulary vocabulary = NULL;
    ov3d_session session = NULL;
    ov3d_result result = NULL;
    ov3d_result_view view;

    make_points();
    ov3d_cloud cloud = ov3d_cloud_xyz(points, COUNT);
    ov3d_result_view_init(&view, sizeof view);
    const char *const *words = (const char *const *)(argv + 3);
    int ok = ov3d_model_load(argv[1], NULL, &model) == OV3D_OK &&
             make_vocabulary(argv[2], words, (size_t)(argc - 3), &vocabulary) == OV3D_OK &&
             ov3d_session_create(model, NULL, &session) == OV3D_OK &&
             ov3d_session_set_vocabulary(session, vocabulary) == OV3D_OK &&
             ov3d_segment(session, &cloud, NULL, &result) == OV3D_OK &&
             ov3d_result_get(result, &view) == OV3D_OK;
    if (ok) {
        print_labels(vocabulary, &view);
    } else {
        print_error();
    }

    ov3d_result_free(result);
    ov3d_session_free(session);
    ov3d_vocabulary_free(vocabulary);
    ov3d_model_free(model);
    return ok ? 0 : 1;
}
