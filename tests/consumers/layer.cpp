// layer.cpp - the C++ layer beyond the examples: handles move, spans span, errors carry messages, all calls are there.
#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <openvocab3d.hpp>
#include <vector>

static int failures = 0;

#define EXPECT(condition)                                                          \
    do {                                                                           \
        if (!(condition)) {                                                        \
            std::fprintf(stderr, "layer.cpp:%d: %s\n", __LINE__, #condition);      \
            failures++;                                                            \
        }                                                                          \
    } while (false)

static_assert(!std::is_copy_constructible<ov3d::Model>::value && !std::is_copy_assignable<ov3d::Result>::value, "");
static_assert(std::is_nothrow_move_constructible<ov3d::Session>::value, "");
static_assert(sizeof(ov3d::Session) == sizeof(ov3d_session), "a handle and nothing else");

struct Record {
    std::uint8_t color[3];
    double x, y, z;
};

static std::vector<unsigned char> read(const char *path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

static std::vector<std::int32_t> labels(const ov3d::Expected<ov3d::Result> &result) {
    EXPECT(result);
    auto view = result->view();
    EXPECT(view);
    return {view->labels.begin(), view->labels.end()};
}

int main(int argc, char **argv) {
    if (argc != 3) {
        return 2;
    }
    EXPECT(ov3d::compatible());

    auto bad = ov3d::Model::load("/nowhere/model");
    EXPECT(!bad && !*bad && bad.status().code() == OV3D_ERROR_IO && bad.status().recoverable());
    EXPECT(bad.status().message().find("/nowhere/model") != std::string::npos);
    EXPECT(std::strcmp(bad.status().name(), "OV3D_ERROR_IO") == 0);

    auto model = ov3d::Model::load_memory(read(argv[1]));
    auto vocabulary = ov3d::Vocabulary::load_memory(read(argv[2]));
    EXPECT(model && vocabulary);
    EXPECT(model->info() && model->info()->text_dim == 32 && std::strcmp(model->info()->text_space, "custom-32") == 0);
    EXPECT(vocabulary->size() == 4 && std::strcmp(vocabulary->name(OV3D_LABEL_NONE), "") == 0);

    auto options = ov3d::session_options();
    options.threads = 2;
    auto created = ov3d::Session::create(*model, options);
    EXPECT(created && created->info() && created->info()->threads == 2);
    ov3d::Session session = *std::move(created);
    EXPECT(session && !*created);
    *model = ov3d::Model(); // the session keeps what it uses
    EXPECT(!*model);
    EXPECT(session.set_vocabulary(*vocabulary));

    // The same points in five layouts.
    std::vector<float> flat;
    std::vector<std::array<double, 3>> rows;
    std::vector<Record> records;
    for (int i = 0; i < 900; i++) {
        const float x = static_cast<float>(i % 30) / 16, y = static_cast<float>(i / 30) / 16;
        flat.insert(flat.end(), {x, y, 0.5f * x});
        rows.push_back({x, y, 0.5 * x});
        records.push_back({{1, 2, 3}, 2.0 * x, 2.0 * y, x});
    }
    const auto packed = ov3d::Cloud::packed(flat);
    const auto want = labels(session.segment(packed));
    EXPECT(want.size() == 900);
    EXPECT(labels(session.segment(ov3d::Cloud::strided(rows[0].data(), rows.size(), sizeof rows[0]))) == want);
    auto halves = ov3d::Cloud::of(records, &Record::x).unit_in_metres(0.5);
    EXPECT(labels(session.segment(halves.colors(records[0].color, sizeof(Record)))) == want);
    const double pose[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    auto posed = ov3d::Cloud::packed(flat).pose(pose).axes(OV3D_AXES_RIGHT_HANDED_Z_UP);
    EXPECT(labels(session.segment(posed)) == want);
    const std::vector<Record> none;
    EXPECT(labels(session.segment(ov3d::Cloud::of(none, &Record::x))).empty());

    // Begin, wait, options, what was asked for and what was not.
    auto wanted = ov3d::segment_options();
    wanted.outputs = OV3D_OUTPUT_QUERYABLE | OV3D_OUTPUT_LOGITS;
    wanted.top_k = 2;
    auto pending = session.begin(packed, wanted);
    EXPECT(pending && pending->wait() && pending->ready());
    auto view = pending->view();
    EXPECT(view && view->points == 900 && view->label_count == 4 && view->top_k == 2);
    EXPECT(view->labels[7] == want[7] && view->top_labels[2 * 7] == want[7]);
    EXPECT(view->scores[7] == view->top_scores[2 * 7]);
    EXPECT(view->logits.size() == 4 * view->voxels && view->coordinates.size() == 3 * view->voxels);
    EXPECT(view->features.empty() && view->voxel_of_point.size() == 900);
    EXPECT(pending->timings() && pending->timings()->total > 0);

    // Other words for the same run; a vocabulary from embeddings; batches.
    std::vector<float> embeddings(2 * 32);
    embeddings[0] = embeddings[63] = 1;
    auto words = ov3d::Vocabulary::from_embeddings(embeddings, {"first", "last"});
    EXPECT(words && words->size() == 2 && std::strcmp(words->name(1), "last") == 0);
    auto answer = session.query(*pending, *words);
    EXPECT(answer && answer->view()->label_count == 2);
    EXPECT(ov3d::Vocabulary::from_embeddings(embeddings, {"a", "b", "c"}).status().code() == OV3D_ERROR_MISMATCH);
    const std::string path = argv[2];
    auto encoder = ov3d::TextEncoder::load(path.substr(0, path.rfind('/')) + "/tower");
    EXPECT(encoder && encoder->info() && encoder->info()->dim == 32);
    auto encoded = encoder->encode({"a chair", "a table"});
    EXPECT(encoded && encoded->size() == 64);
    auto texts = ov3d::Vocabulary::from_texts(*encoder, {"chair", "table"});
    auto preset = ov3d::Vocabulary::from_preset(*encoder, "nuscenes16");
    EXPECT(texts && texts->size() == 2 && preset && preset->size() == 16);
    auto names = ov3d::Vocabulary::from_names(*preset, {"Car", "terrain"});
    EXPECT(names && names->size() == 2 && session.query(*pending, *names));
    EXPECT(ov3d::Vocabulary::from_names(*preset, {"cars"}).status().code() == OV3D_ERROR_INVALID_ARGUMENT);
    EXPECT(session.query(*pending, *texts) && session.query(*pending, *preset));
    EXPECT(!ov3d::TextEncoder::load("/nowhere/tower"));
    const std::array<ov3d::Cloud, 2> clouds = {packed, halves};
    auto batch = session.segment_batch(clouds);
    EXPECT(batch && batch->size() == 2);
    for (const ov3d::Result &result : *batch) {
        EXPECT(result.view()->labels.size() == 900 && result.view()->labels[899] == want[899]);
    }

    // Superpoints alone, and a vote with ids from elsewhere.
    auto few = ov3d::superpoint_options();
    few.method = OV3D_SUPERPOINTS_GRAPH;
    few.count = 7;
    auto found = ov3d::superpoints(packed, few);
    EXPECT(found && found->view() && found->view()->superpoints.size() == 900 && found->view()->labels.empty());
    EXPECT(found->view()->superpoint_count == 7 && found->view()->superpoint_centroids.size() == 21);
    EXPECT(!found->view()->superpoint_adjacency.empty() && found->view()->superpoint_sizes[6] > 0);
    auto voting = ov3d::segment_options();
    voting.vote = OV3D_VOTE_LABELS;
    voting.outputs = OV3D_OUTPUT_TRUNK_FEATURES;
    const std::vector<std::int64_t> all_one(900, 77);
    auto owned = ov3d::Cloud::packed(flat).superpoints(all_one.data());
    auto voted = session.segment(owned, voting);
    EXPECT(voted && voted->view()->superpoint_count == 1);
    EXPECT(voted->view()->superpoint_features.size() == voted->view()->feature_dim);
    EXPECT(voted->view()->labels[0] == voted->view()->labels[899]);

    // Moves leave nothing behind; errors after them are errors.
    ov3d::Session moved = std::move(session);
    EXPECT(moved.cancel());
    EXPECT(!session && !session.cancel()); // NOLINT: after the move on purpose
    EXPECT(moved.segment(packed));

#if defined(__cpp_exceptions)
    try {
        ov3d::or_throw(ov3d::Vocabulary::load("/nowhere/words"));
        EXPECT(false);
    } catch (const ov3d::Exception &error) {
        EXPECT(error.code() == OV3D_ERROR_IO && std::strstr(error.what(), "/nowhere/words") != nullptr);
    }
    EXPECT(ov3d::or_throw(moved.segment(packed)).ready());
#endif
    return failures == 0 ? 0 : 1;
}
