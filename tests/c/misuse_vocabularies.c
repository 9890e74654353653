// misuse_vocabularies.c - embeddings, names and labels that are wrong.

#include "check.h"
#include "misuse.h"
#include <math.h>
#include <string.h>

#define DIM 4
#define COUNT 3

static float rows[COUNT][DIM + 1];
static const char *names[COUNT] = {"a", "b", "c"};

static void refused(const char *what, const float *values, size_t count, size_t dim, const ov3d_vocabulary_desc *desc,
                    ov3d_status want, const char *mentions) {
    REFUSED(what, ov3d_vocabulary_from_embeddings(values, count, dim, names, desc, &out.vocabulary), want, mentions);
}

static void embeddings(void) {
    const float *first = &rows[0][0];
    fill_embeddings(&rows[0][0], COUNT, DIM + 1);
    refused("no rows", first, 0, DIM, NULL, OV3D_ERROR_INVALID_ARGUMENT, "label");
    refused("no rows at NULL", NULL, 0, DIM, NULL, OV3D_ERROR_INVALID_ARGUMENT, "label");
    refused("no width", first, COUNT, 0, NULL, OV3D_ERROR_MISMATCH, "0");
    refused("overflow", first, SIZE_MAX, 2, NULL, OV3D_ERROR_INVALID_ARGUMENT, "overflow");
    refused("overflow", first, COUNT, SIZE_MAX / 2, NULL, OV3D_ERROR_INVALID_ARGUMENT, "overflow");
    refused("more than memory", first, COUNT, SIZE_MAX / 8, NULL, OV3D_ERROR_INVALID_ARGUMENT, "embeddings");
    refused("an odd address", (const float *)(const void *)((const char *)first + 1), COUNT, DIM, NULL,
            OV3D_ERROR_INVALID_ARGUMENT, "embeddings");
    refused("an odd address", (const float *)(const void *)((const char *)first + 2), COUNT, DIM, NULL,
            OV3D_ERROR_INVALID_ARGUMENT, "aligned");
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fill_embeddings(&rows[0][0], COUNT, DIM + 1);
        rows[1][0] = bad[i];
        refused("not finite", first, COUNT, DIM, NULL, OV3D_ERROR_INVALID_ARGUMENT, "prompt 1");
    }
    memset(rows, 0, sizeof rows);
    refused("no length", first, COUNT, DIM, NULL, OV3D_ERROR_INVALID_ARGUMENT, "prompt 0");
    fill_embeddings(&rows[0][0], COUNT, DIM + 1);
}

static void descriptors(void) {
    const float *first = &rows[0][0];
    ov3d_vocabulary_desc desc;
    ov3d_vocabulary_desc_init(&desc, sizeof desc);
    desc.flags = 2;
    refused("flags", first, COUNT, DIM, &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.flags");
    ov3d_vocabulary_desc_init(&desc, sizeof desc);
    desc.text_space = "\xFF\xFE";
    refused("a space that is no text", first, COUNT, DIM, &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.text_space");
    ov3d_vocabulary_desc_init(&desc, sizeof desc);
    static const uint32_t wrong[][COUNT] = {{0, 1, 3}, {0, 2, 2}, {1, 1, 1}, {0, 1, UINT32_MAX}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        desc.label_of_row = wrong[i];
        refused("labels with gaps", first, COUNT, DIM, &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.label_of_row");
    }
    desc.label_of_row = (const uint32_t *)(const void *)((const char *)wrong + 2);
    refused("labels at an odd address", first, COUNT, DIM, &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.label_of_row");
    names[1] = "caf\xE9";
    refused("a name that is no UTF-8", first, COUNT, DIM, NULL, OV3D_ERROR_INVALID_ARGUMENT, "names[1]");
    names[1] = NULL;
    refused("no name", first, COUNT, DIM, NULL, OV3D_ERROR_INVALID_ARGUMENT, "names[1]");
    names[1] = "b";
    ov3d_vocabulary_desc_init(&desc, sizeof desc);
    desc.text_space = "another space";
    ov3d_vocabulary other = NULL;
    float wide[32] = {1};
    PLAIN("another space", ov3d_vocabulary_from_embeddings(wide, 1, 32, names, &desc, &other) == OV3D_OK);
    REFUSED("another space", ov3d_session_set_vocabulary(world.session, other), OV3D_ERROR_MISMATCH, "another space");
    ov3d_vocabulary_free(other);
}

void misuse_of_vocabularies(void) {
    embeddings();
    descriptors();
}
