// behaviour_superpoints.c - superpoints alone and in a segmentation, and votes. The header of interface 1 has none.

#include "behaviour.h"
#include "check.h"
#include <math.h>
#include <string.h>

#ifdef OV3D_SUPERPOINTS_VCCS

static ov3d_result_view view_of(ov3d_result result) {
    ov3d_result_view view;
    ov3d_result_view_init(&view, sizeof view);
    require("a view", ov3d_result_get(result, &view));
    return view;
}

// Numbers without holes, sizes that add up, pairs in order.
static bool sound(const ov3d_result_view *view, uint64_t with) {
    uint64_t sum = 0;
    for (uint64_t s = 0; s < view->superpoint_count; s++) {
        sum += view->superpoint_sizes[s];
        uint32_t size = 0;
        for (uint64_t i = 0; i < view->points; i++) {
            size += view->superpoints[i] == (int32_t)s;
        }
        if (size == 0 || size != view->superpoint_sizes[s] || !isfinite(view->superpoint_centroids[3 * s])) {
            return false;
        }
    }
    for (uint64_t p = 0; p < view->superpoint_pairs; p++) {
        const uint32_t *pair = view->superpoint_adjacency + 2 * p;
        if (pair[0] >= pair[1] || pair[1] >= view->superpoint_count) {
            return false;
        }
    }
    return sum == with;
}

static void alone(void) {
    ov3d_cloud cloud = world_cloud();
    ov3d_superpoint_desc desc;
    ov3d_superpoint_desc_init(&desc, sizeof desc);
    HOLDS("defaults", desc.method == OV3D_SUPERPOINTS_VCCS && desc.voxel_size == 0.0 && desc.color_weight == -1.0f);
    int32_t first[POINTS] = {0};
    for (uint32_t threads = 1; threads <= 3; threads++) {
        for (desc.method = OV3D_SUPERPOINTS_VCCS; desc.method <= OV3D_SUPERPOINTS_GRAPH; desc.method += 2) {
            ov3d_result result = NULL;
            desc.voxel_size = 0.1;
            desc.threads = threads;
            desc.count = 12;
            SUCCEEDS("superpoints without a model", ov3d_superpoints(&cloud, &desc, &result));
            ov3d_result_view view = view_of(result);
            HOLDS("every point has one", view.points == POINTS && view.superpoint_count > 1 && sound(&view, POINTS));
            HOLDS("there is nothing else", view.labels == NULL && view.voxels == 0 && view.label_count == 0);
            if (desc.method == OV3D_SUPERPOINTS_VCCS) {
                if (threads == 1) {
                    memcpy(first, view.superpoints, sizeof first);
                }
                HOLDS("threads change nothing", memcmp(first, view.superpoints, sizeof first) == 0);
            }
            ov3d_result_free(result);
        }
    }
    ov3d_result result = NULL;
    cloud.count = 0;
    SUCCEEDS("no points", ov3d_superpoints(&cloud, NULL, &result));
    ov3d_result_view view = view_of(result);
    HOLDS("no superpoints", view.points == 0 && view.superpoint_count == 0 && view.superpoints == NULL);
    ov3d_result_free(result);
}

// Ids of the caller: three sets, and points of none.
static void own_ids(void) {
    int64_t ids[POINTS];
    for (int i = 0; i < POINTS; i++) {
        ids[i] = i % 4 == 3 ? -1 : 5000000000 + i % 4;
    }
    ov3d_cloud cloud = world_cloud();
    cloud.superpoints = (ov3d_strided_view){.data = ids, .stride_bytes = 8, .dtype = OV3D_DTYPE_I64, .components = 1};
    for (int32_t vote = OV3D_VOTE_NONE; vote <= OV3D_VOTE_SCORES; vote++) {
        for (int32_t weight = OV3D_VOTE_WEIGHT_ONE; weight <= OV3D_VOTE_WEIGHT_MARGIN; weight++) {
            ov3d_superpoint_desc superpoints;
            ov3d_superpoint_desc_init(&superpoints, sizeof superpoints);
            ov3d_segment_desc desc = segment_defaults();
            desc.superpoints = &superpoints;
            desc.vote = vote;
            desc.vote_weight = weight;
            desc.outputs = OV3D_OUTPUT_TRUNK_FEATURES | OV3D_OUTPUT_QUERYABLE;
            int32_t labels[POINTS];
            desc.labels = labels;
            desc.labels_capacity = POINTS;
            ov3d_result result = NULL, answer = NULL;
            SUCCEEDS("a vote with own ids", ov3d_segment(world.session, &cloud, &desc, &result));
            ov3d_result_view view = view_of(result);
            HOLDS("the ids became numbers",
                  view.superpoint_count == 3 && view.superpoints[3] == -1 && sound(&view, POINTS / 4 * 3) &&
                      view.superpoint_adjacency == NULL && view.superpoint_features != NULL && view.feature_dim > 0);
            HOLDS("nothing else was returned", view.logits == NULL && view.top_labels == NULL && view.top_k == 1);
            bool same = true, agreed = true;
            for (int i = 0; i < POINTS; i++) {
                same = same && (view.labels[i] == world.labels[i] || (vote != OV3D_VOTE_NONE && i % 4 != 3));
                agreed = agreed && (vote == OV3D_VOTE_NONE || i % 4 == 3 || view.labels[i] == view.labels[i % 4]);
            }
            HOLDS("who has no superpoint keeps its label", same);
            HOLDS("who has one agrees", agreed);
            HOLDS("own buffers hold the same", memcmp(labels, view.labels, sizeof labels) == 0);
            desc.labels = NULL;
            desc.outputs = 0;
            SUCCEEDS("a query with a vote", ov3d_session_query(world.session, result, world.words, &desc, &answer));
            ov3d_result_view again = view_of(answer);
            HOLDS("it votes alike", memcmp(again.labels, view.labels, sizeof labels) == 0 &&
                                        memcmp(again.superpoints, view.superpoints, sizeof labels) == 0);
            ov3d_result_free(answer);
            ov3d_result_free(result);
        }
    }
}

static void votes(void) {
    ov3d_cloud cloud = world_cloud();
    ov3d_superpoint_desc superpoints;
    ov3d_superpoint_desc_init(&superpoints, sizeof superpoints);
    superpoints.method = OV3D_SUPERPOINTS_GRAPH;
    superpoints.voxel_size = 0.1;
    superpoints.count = 9;
    superpoints.feature_weight = 0.5f;
    ov3d_segment_desc desc = segment_defaults();
    desc.superpoints = &superpoints;
    desc.vote = OV3D_VOTE_LABELS;
    ov3d_result result = NULL;
    SUCCEEDS("superpoints that know the network", ov3d_segment(world.session, &cloud, &desc, &result));
    ov3d_result_view view = view_of(result);
    int32_t label_of[POINTS];
    bool agreed = sound(&view, POINTS);
    for (int i = POINTS - 1; i >= 0; i--) {
        label_of[view.superpoints[i]] = view.labels[i];
    }
    for (int i = 0; i < POINTS; i++) {
        agreed = agreed && view.labels[i] == label_of[view.superpoints[i]];
    }
    HOLDS("every superpoint has one label", agreed && view.features == NULL);
    ov3d_timings timings;
    ov3d_timings_init(&timings, sizeof timings);
    HOLDS("it took time", ov3d_result_timings_get(result, &timings) == OV3D_OK && timings.superpoints > 0.0 &&
                              timings.vote > 0.0 && timings.total > timings.superpoints);
    ov3d_result_free(result);

    desc = segment_defaults();
    desc.vote = OV3D_VOTE_LABELS;
    desc.repeats = 2;
    SUCCEEDS("a vote after repeats", ov3d_segment(world.session, &cloud, &desc, &result));
    view = view_of(result);
    HOLDS("the default superpoints", view.superpoint_count > 0 && sound(&view, POINTS));
    ov3d_result_free(result);

    // Interfaces do not meet: a shorter struct knows no votes.
    desc.struct_size = offsetof(ov3d_segment_desc, superpoints);
    desc.repeats = 0;
    SUCCEEDS("an older descriptor", ov3d_segment(world.session, &cloud, &desc, &result));
    view = view_of(result);
    HOLDS("has none", view.superpoints == NULL && memcmp(view.labels, world.labels, sizeof world.labels) == 0);
    ov3d_result_free(result);
}

void behaviour_of_superpoints(void) {
    alone();
    own_ids();
    votes();
}

#else

void behaviour_of_superpoints(void) {}

#endif
