// misuse_files.c - model and vocabulary files that are missing, damaged or of another kind; from disk and from memory.

#include "check.h"
#include "misuse.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ov3d_status load(bool model, const char *path) {
    return model ? ov3d_model_load(path, NULL, &out.model) : ov3d_vocabulary_load(path, &out.vocabulary);
}

static ov3d_status load_bytes(bool model, const void *bytes, size_t size) {
    return model ? ov3d_model_load_memory(bytes, size, NULL, &out.model)
                 : ov3d_vocabulary_load_memory(bytes, size, &out.vocabulary);
}

static void paths(bool model) {
    REFUSED("a missing file", load(model, "no/such/file"), OV3D_ERROR_IO, "no/such/file");
    REFUSED("an empty path", load(model, ""), OV3D_ERROR_IO, "''");
    REFUSED("a folder", load(model, world.folder), OV3D_ERROR_IO, world.folder);
    REFUSED("a path that is no UTF-8", load(model, "caf\xE9"), OV3D_ERROR_INVALID_ARGUMENT, "path");
    REFUSED("a path that is cut within a letter", load(model, "caf\xC3"), OV3D_ERROR_INVALID_ARGUMENT, "path");
    REFUSED("a file of another format", load(model, in_folder("ply.ply")), OV3D_ERROR_FORMAT, "ply.ply");
    REFUSED("a file of the other kind", load(model, in_folder(model ? "words.safetensors" : "ones.safetensors")),
            OV3D_ERROR_UNSUPPORTED, model ? "model" : "vocabulary");
}

// As many bytes as `size`, none more readable: an error must be found within them.
static void *exactly(const unsigned char *bytes, size_t size) {
    void *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        exit(2);
    }
    memcpy(copy, bytes, size);
    return copy;
}

static void truncated(bool model, const unsigned char *bytes, size_t size) {
    const size_t sizes[] = {0, 1, 7, 8, 9, 100, size / 2, size - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *copy = exactly(bytes, sizes[i]);
        REFUSED("cut short", load_bytes(model, copy, sizes[i]), OV3D_ERROR_FORMAT, "safetensors");
        free(copy);
    }
    FILE *file = fopen(in_folder("cut"), "wb");
    bool written = file != NULL && fwrite(bytes, 1, size / 2, file) == size / 2;
    PLAIN("a file to write", file != NULL && fclose(file) == 0 && written);
    REFUSED("a file cut short", load(model, in_folder("cut")), OV3D_ERROR_FORMAT, "cut");
}

static void oversized(bool model, const unsigned char *bytes, size_t size) {
    const uint64_t headers[] = {UINT64_MAX, (uint64_t)INT64_MAX, (uint64_t)1 << 40, size, 0};
    unsigned char *copy = exactly(bytes, size);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        // Little-endian, as the format wants it.
        for (int byte = 0; byte < 8; byte++) {
            copy[byte] = (unsigned char)(headers[i] >> (8 * byte));
        }
        REFUSED("a header too large", load_bytes(model, copy, size), OV3D_ERROR_FORMAT, "safetensors");
    }
    free(copy);
}

// A flipped bit may go unnoticed, among weights; but it must never be worse than an error.
static void flipped(bool model, const unsigned char *bytes, size_t size) {
    unsigned char *copy = exactly(bytes, size);
    size_t refused = 0, accepted = 0;
    for (size_t i = 0; i < 200; i++) {
        // Three of four within the header, where the structure is.
        size_t at = i % 4 == 3 ? i * 7919 % size : i * 31 % (size < 4000 ? size : 4000);
        copy[at] ^= (unsigned char)(1u << i % 8);
        arm();
        ov3d_status status = load_bytes(model, copy, size);
        if (status == OV3D_OK) {
            ov3d_model_free(model ? out.model : NULL);
            ov3d_vocabulary_free(model ? NULL : out.vocabulary);
            accepted++;
        } else {
            bool fits = status == OV3D_ERROR_FORMAT || status == OV3D_ERROR_UNSUPPORTED ||
                        status == OV3D_ERROR_MISMATCH || status == OV3D_ERROR_INVALID_ARGUMENT;
            refused += fits && ov3d_last_error(NULL, 0) > 1;
        }
        copy[at] = bytes[at];
    }
    HOLDS("flipped bits", refused + accepted == 200 && refused > 0);
    free(copy);
}

// Replaces the first `from` in the bytes by `to`, of the same length.
static bool replace(unsigned char *bytes, size_t size, const char *from, const char *to) {
    size_t length = strlen(from);
    for (size_t at = 0; at + length <= size; at++) {
        if (memcmp(bytes + at, from, length) == 0) {
            memcpy(bytes + at, to, length);
            return true;
        }
    }
    return false;
}

static void altered(bool model, const unsigned char *bytes, size_t size) {
    static const struct {
        const char *from, *to;
        ov3d_status status;
        const char *mentions;
        bool model;
    } changes[] = {
        {"\"openvocab3d.schema\":\"1\"", "\"openvocab3d.schema\":\"9\"", OV3D_ERROR_UNSUPPORTED, "schema 9", true},
        {"\"openvocab3d.schema\":\"1\"", "\"openvocab3d.schema\":\"9\"", OV3D_ERROR_UNSUPPORTED, "schema 9", false},
        {"openvocab3d.schema", "openvocab3d.schemb", OV3D_ERROR_FORMAT, "openvocab3d.schema", true},
        {"openvocab3d.kind", "openvocab3d.kine", OV3D_ERROR_FORMAT, "openvocab3d.kind", false},
        {"openvocab3d.graph", "openvocab3d.grapi", OV3D_ERROR_FORMAT, "openvocab3d.graph", true},
        {"openvocab3d.labels", "openvocab3d.labelt", OV3D_ERROR_FORMAT, "openvocab3d.labels", false},
        {"openvocab3d.voxel_size\":\"0.05", "openvocab3d.voxel_size\":\"-.05", OV3D_ERROR_FORMAT,
         "voxel size", true},
        {"openvocab3d.voxel_size\":\"0.05", "openvocab3d.voxel_size\":\"zero", OV3D_ERROR_FORMAT, "voxel_size", true},
        {"final.kernel", "finak.kernel", OV3D_ERROR_FORMAT, "final.kernel", true},
        {"embeddings.", "embeddingt.", OV3D_ERROR_FORMAT, "embeddingt.", false},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        if (changes[i].model != model) {
            continue;
        }
        unsigned char *copy = exactly(bytes, size);
        PLAIN(changes[i].from, replace(copy, size, changes[i].from, changes[i].to));
        REFUSED(changes[i].to, load_bytes(model, copy, size), changes[i].status, changes[i].mentions);
        free(copy);
    }
}

void misuse_of_files(void) {
    for (int model = 0; model < 2; model++) {
        size_t size = 0;
        unsigned char *bytes = read_whole(model ? "ones.safetensors" : "words.safetensors", &size);
        paths(model != 0);
        truncated(model != 0, bytes, size);
        oversized(model != 0, bytes, size);
        flipped(model != 0, bytes, size);
        altered(model != 0, bytes, size);
        // An odd address is fine: bytes have no alignment.
        unsigned char *shifted = malloc(size + 1);
        if (shifted != NULL) {
            memcpy(shifted + 1, bytes, size);
            arm();
            SUCCEEDS("bytes at an odd address", load_bytes(model != 0, shifted + 1, size));
            ov3d_model_free(model ? out.model : NULL);
            ov3d_vocabulary_free(model ? NULL : out.vocabulary);
        }
        free(shifted);
        free(bytes);
    }
    REFUSED("saving into a folder that is not there",
            ov3d_vocabulary_save(world.words, in_folder("no/such/folder/words")), OV3D_ERROR_IO, "no/such/folder");
    REFUSED("saving over a folder", ov3d_vocabulary_save(world.words, world.folder), OV3D_ERROR_IO, world.folder);
    REFUSED("saving to a path that is no UTF-8", ov3d_vocabulary_save(world.words, "\xFF"),
            OV3D_ERROR_INVALID_ARGUMENT, "path");
}
