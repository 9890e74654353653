// misuse_requests.c - wrong segment descriptors, output buffers and batches.

#include "check.h"
#include "misuse.h"
#include <math.h>
#include <string.h>

static void refused(const char *what, const ov3d_segment_desc *desc, ov3d_status want, const char *mentions) {
    ov3d_cloud cloud = world_cloud();
    REFUSED(what, ov3d_segment(world.session, &cloud, desc, &out.result), want, mentions);
    REFUSED(what, ov3d_segment_batch(world.session, &cloud, 1, desc, out.results), want, mentions);
}

static void options(void) {
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = 16;
    refused("outputs", &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.outputs");
    desc.outputs = OV3D_OUTPUT_TRUNK_FEATURES | OV3D_OUTPUT_TEXT_FEATURES;
    refused("two kinds of features", &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.outputs");
    const int32_t wrong[] = {2, -1, INT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        desc = segment_defaults();
        desc.similarity = wrong[i];
        refused("similarity", &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.similarity");
        desc = segment_defaults();
        desc.grid_origin = wrong[i];
        refused("grid", &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.grid_origin");
        desc = segment_defaults();
        desc.representative = wrong[i];
        refused("representative", &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.representative");
    }
    const float numbers[] = {-1.0f, NAN, INFINITY};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        desc = segment_defaults();
        desc.temperature = numbers[i];
        refused("temperature", &desc, OV3D_ERROR_INVALID_ARGUMENT, "temperature");
        desc = segment_defaults();
        desc.voxel_size = (double)numbers[i];
        refused("voxel size", &desc, OV3D_ERROR_INVALID_ARGUMENT, "voxel_size");
    }
    desc = segment_defaults();
    desc.top_k = 7;
    refused("top_k", &desc, OV3D_ERROR_INVALID_ARGUMENT, "top_k");
    desc.top_k = UINT32_MAX;
    refused("top_k", &desc, OV3D_ERROR_INVALID_ARGUMENT, "top_k");
}

static void repeats(void) {
    ov3d_segment_desc desc = segment_defaults();
    desc.repeats = 2;
    desc.outputs = OV3D_OUTPUT_LOGITS;
    refused("repeats with outputs", &desc, OV3D_ERROR_INVALID_ARGUMENT, "logits");
    desc.outputs = 0;
    desc.repeats = UINT32_MAX;
    refused("repeats", &desc, OV3D_ERROR_INVALID_ARGUMENT, "repeats");
    desc.repeats = 2;
    desc.rotation[1] = (double)NAN;
    refused("rotation", &desc, OV3D_ERROR_INVALID_ARGUMENT, "rotation");
    const double scales[][2] = {{0.0, 1.0}, {1.1, 0.9}, {-1.0, 1.0}, {1.0, (double)INFINITY}};
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        desc = segment_defaults();
        desc.repeats = 2;
        memcpy(desc.scale, scales[i], sizeof desc.scale);
        refused("scale", &desc, OV3D_ERROR_INVALID_ARGUMENT, "scale");
    }
}

static void buffers(void) {
    ov3d_segment_desc desc = segment_defaults();
    desc.labels = out.labels;
    desc.labels_capacity = POINTS - 1;
    refused("labels one short", &desc, OV3D_ERROR_CAPACITY, "desc.labels_capacity");
    refused("the size needed", &desc, OV3D_ERROR_CAPACITY, "240");
    desc.labels_capacity = 0;
    refused("no room for labels", &desc, OV3D_ERROR_CAPACITY, "desc.labels_capacity");
    desc.labels = (int32_t *)(void *)((char *)out.labels + 1);
    desc.labels_capacity = POINTS;
    refused("labels at an odd address", &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.labels");
    desc = segment_defaults();
    desc.scores = out.scores;
    desc.scores_capacity = POINTS - 1;
    refused("scores one short", &desc, OV3D_ERROR_CAPACITY, "desc.scores_capacity");
    desc.scores = (float *)(void *)((char *)out.scores + 2);
    desc.scores_capacity = POINTS;
    refused("scores at an odd address", &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.scores");

    // Two clouds need twice the room.
    ov3d_cloud clouds[2] = {world_cloud(), world_cloud()};
    desc = segment_defaults();
    desc.labels = out.labels;
    desc.labels_capacity = POINTS + 1;
    REFUSED("labels of two clouds", ov3d_segment_batch(world.session, clouds, 2, &desc, out.results),
            OV3D_ERROR_CAPACITY, "480");
    // A run that is refused later on must not have touched the buffers either.
    desc.labels_capacity = 2 * POINTS;
    desc.voxel_size = 1e-6;
    REFUSED("out of range with own labels", ov3d_segment(world.session, clouds, &desc, &out.result),
            OV3D_ERROR_OUT_OF_RANGE, "voxel");
}

static void batches(void) {
    ov3d_cloud clouds[2] = {world_cloud(), world_cloud()};
    REFUSED("too many clouds", ov3d_segment_batch(world.session, clouds, 1025, NULL, out.results),
            OV3D_ERROR_INVALID_ARGUMENT, "count");
    REFUSED("too many clouds", ov3d_segment_batch(world.session, clouds, SIZE_MAX, NULL, out.results),
            OV3D_ERROR_INVALID_ARGUMENT, "count");
    clouds[1].axes = 9;
    REFUSED("a bad second cloud", ov3d_segment_batch(world.session, clouds, 2, NULL, out.results),
            OV3D_ERROR_INVALID_ARGUMENT, "clouds[1]");
    clouds[1] = world_cloud();
    clouds[1].struct_size = 0;
    REFUSED("a second cloud without a size", ov3d_segment_batch(world.session, clouds, 2, NULL, out.results),
            OV3D_ERROR_STRUCT_SIZE, "clouds[1]");
}

static void queries(void) {
    ov3d_cloud cloud = world_cloud();
    ov3d_result plain = NULL, kept = NULL;
    PLAIN("a plain result", ov3d_segment(world.session, &cloud, NULL, &plain) == OV3D_OK);
    REFUSED("nothing was kept", ov3d_session_query(world.session, plain, world.words, NULL, &out.result),
            OV3D_ERROR_INVALID_STATE, "OV3D_OUTPUT_QUERYABLE");
    ov3d_result_free(plain);
    ov3d_segment_desc desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    PLAIN("a queryable result", ov3d_segment(world.session, &cloud, &desc, &kept) == OV3D_OK);
    ov3d_vocabulary misfit = NULL;
    PLAIN("a vocabulary", ov3d_vocabulary_load(in_folder("misfit.safetensors"), &misfit) == OV3D_OK);
    REFUSED("a misfit", ov3d_session_query(world.session, kept, misfit, NULL, &out.result), OV3D_ERROR_MISMATCH,
            "vocabulary");
    ov3d_session other = NULL;
    PLAIN("a session", ov3d_session_create(world.colors, NULL, &other) == OV3D_OK);
    REFUSED("another model", ov3d_session_query(other, kept, world.words, NULL, &out.result), OV3D_ERROR_MISMATCH,
            "model");
    desc = segment_defaults();
    desc.labels = out.labels;
    desc.labels_capacity = 3;
    REFUSED("labels too short", ov3d_session_query(world.session, kept, world.words, &desc, &out.result),
            OV3D_ERROR_CAPACITY, "desc.labels_capacity");
    desc = segment_defaults();
    desc.top_k = 100;
    REFUSED("top_k", ov3d_session_query(world.session, kept, world.words, &desc, &out.result),
            OV3D_ERROR_INVALID_ARGUMENT, "top_k");
    ov3d_session_free(other);
    ov3d_vocabulary_free(misfit);
    ov3d_result_free(kept);
}

void misuse_of_requests(void) {
    options();
    repeats();
    buffers();
    batches();
    queries();
}
