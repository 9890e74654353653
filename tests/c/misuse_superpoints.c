// misuse_superpoints.c - wrong ids, normals, superpoint descriptors and votes. The header of interface 1 has none of them.

#include "check.h"
#include "misuse.h"
#include <math.h>
#include <string.h>

#ifdef OV3D_SUPERPOINTS_VCCS

static int32_t ids[POINTS];

static ov3d_superpoint_desc superpoint_defaults(void) {
    ov3d_superpoint_desc desc;
    ov3d_superpoint_desc_init(&desc, sizeof desc);
    return desc;
}

// Alone and within a segmentation.
static void refused(const char *what, const ov3d_superpoint_desc *desc, ov3d_status want, const char *mentions) {
    ov3d_cloud cloud = world_cloud();
    REFUSED(what, ov3d_superpoints(&cloud, desc, &out.result), want, mentions);
    ov3d_segment_desc segment = segment_defaults();
    segment.superpoints = desc;
    REFUSED(what, ov3d_segment(world.session, &cloud, &segment, &out.result), want, mentions);
}

static void descriptors(void) {
    ov3d_superpoint_desc desc = superpoint_defaults();
    desc.struct_size = 0;
    refused("no size", &desc, OV3D_ERROR_STRUCT_SIZE, "ov3d_superpoint_desc");
    const int32_t methods[] = {-1, 3, INT32_MAX};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        desc = superpoint_defaults();
        desc.method = methods[i];
        refused("method", &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.method");
    }
    const double sizes[] = {-0.1, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        desc = superpoint_defaults();
        desc.voxel_size = sizes[i];
        refused("voxel size", &desc, OV3D_ERROR_INVALID_ARGUMENT, "voxel_size");
        desc = superpoint_defaults();
        desc.seed_size = sizes[i];
        refused("seed size", &desc, OV3D_ERROR_INVALID_ARGUMENT, "seed_size");
        desc = superpoint_defaults();
        desc.stray_reach = sizes[i];
        refused("stray reach", &desc, OV3D_ERROR_INVALID_ARGUMENT, "stray_reach");
        for (int32_t method = OV3D_SUPERPOINTS_VCCS; method <= OV3D_SUPERPOINTS_GRAPH; method++) {
            desc = superpoint_defaults();
            desc.method = method;
            desc.color_weight = (float)sizes[i];
            refused("weight", &desc, OV3D_ERROR_INVALID_ARGUMENT, "color");
        }
        desc = superpoint_defaults();
        desc.method = OV3D_SUPERPOINTS_GRAPH;
        desc.scale = (float)sizes[i];
        refused("scale", &desc, OV3D_ERROR_INVALID_ARGUMENT, "scale");
        desc.scale = -1.0f;
        desc.step_weight = (float)sizes[i];
        refused("step", &desc, OV3D_ERROR_INVALID_ARGUMENT, "step");
    }
    desc = superpoint_defaults();
    desc.rounds = 1001;
    refused("rounds", &desc, OV3D_ERROR_INVALID_ARGUMENT, "rounds");
    desc = superpoint_defaults();
    desc.refinements = UINT32_MAX;
    refused("refinements", &desc, OV3D_ERROR_INVALID_ARGUMENT, "refinements");
    desc = superpoint_defaults();
    desc.threads = 1025;
    refused("threads", &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.threads");
    desc = superpoint_defaults();
    desc.flags = 1;
    refused("flags", &desc, OV3D_ERROR_INVALID_ARGUMENT, "desc.flags");
    desc = superpoint_defaults();
    desc.voxel_size = 1e-9;
    refused("voxels too small", &desc, OV3D_ERROR_OUT_OF_RANGE, "voxel");
}

static void alone(void) {
    ov3d_cloud cloud = world_cloud();
    REFUSED("no cloud", ov3d_superpoints(NULL, NULL, &out.result), OV3D_ERROR_INVALID_ARGUMENT, "cloud");
    REFUSED("no result", ov3d_superpoints(&cloud, NULL, NULL), OV3D_ERROR_INVALID_ARGUMENT, "result");
    ov3d_superpoint_desc desc = superpoint_defaults();
    desc.method = OV3D_SUPERPOINTS_GRAPH;
    desc.feature_weight = 1.0f;
    REFUSED("features of no network", ov3d_superpoints(&cloud, &desc, &out.result), OV3D_ERROR_INVALID_ARGUMENT,
            "feature_weight");
}

static void votes(void) {
    ov3d_cloud cloud = world_cloud();
    const int32_t wrong[] = {3, -1, INT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ov3d_segment_desc desc = segment_defaults();
        desc.vote = wrong[i];
        REFUSED("vote", ov3d_segment(world.session, &cloud, &desc, &out.result), OV3D_ERROR_INVALID_ARGUMENT,
                "desc.vote");
        desc = segment_defaults();
        desc.vote_weight = wrong[i];
        REFUSED("vote weight", ov3d_segment(world.session, &cloud, &desc, &out.result), OV3D_ERROR_INVALID_ARGUMENT,
                "desc.vote_weight");
    }
    ov3d_segment_desc desc = segment_defaults();
    desc.vote = OV3D_VOTE_SCORES;
    desc.repeats = 2;
    REFUSED("scores of repeats", ov3d_segment(world.session, &cloud, &desc, &out.result), OV3D_ERROR_INVALID_ARGUMENT,
            "vote by scores");
    ov3d_superpoint_desc graph = superpoint_defaults();
    graph.method = OV3D_SUPERPOINTS_GRAPH;
    graph.feature_weight = 1.0f;
    desc.vote = OV3D_VOTE_LABELS;
    desc.superpoints = &graph;
    REFUSED("features of repeats", ov3d_segment(world.session, &cloud, &desc, &out.result),
            OV3D_ERROR_INVALID_ARGUMENT, "features");

    // A query votes with the superpoints of its run, which needs some.
    ov3d_result kept = NULL;
    desc = segment_defaults();
    desc.outputs = OV3D_OUTPUT_QUERYABLE;
    PLAIN("a result without", ov3d_segment(world.session, &cloud, &desc, &kept) == OV3D_OK);
    desc = segment_defaults();
    desc.vote = OV3D_VOTE_LABELS;
    REFUSED("a vote without", ov3d_session_query(world.session, kept, world.words, &desc, &out.result),
            OV3D_ERROR_INVALID_STATE, "superpoints");
    ov3d_result_free(kept);
}

static void views_of_clouds(void) {
    const ov3d_strided_view right = {.data = ids, .stride_bytes = 4, .dtype = OV3D_DTYPE_I32, .components = 1};
    for (int normals = 0; normals < 2; normals++) {
        const char *name = normals ? "normals" : "superpoints";
        ov3d_strided_view wrong[5] = {right, right, right, right, right};
        wrong[0].stride_bytes = 3;
        wrong[1].dtype = normals ? OV3D_DTYPE_I32 : OV3D_DTYPE_F32;
        wrong[2].components = 0;
        wrong[3].reserved[0] = 1;
        wrong[4].dtype = 6;
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            ov3d_cloud cloud = world_cloud();
            *(normals ? &cloud.normals : &cloud.superpoints) = wrong[i];
            REFUSED(name, ov3d_segment(world.session, &cloud, NULL, &out.result), OV3D_ERROR_INVALID_ARGUMENT, name);
            REFUSED(name, ov3d_superpoints(&cloud, NULL, &out.result), OV3D_ERROR_INVALID_ARGUMENT, name);
        }
    }
}

void misuse_of_superpoints(void) {
    descriptors();
    alone();
    votes();
    views_of_clouds();
}

#else

void misuse_of_superpoints(void) {}

#endif
