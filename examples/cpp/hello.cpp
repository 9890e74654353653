// hello.cpp - label a cloud with errors as values: for engines that build with -fno-exceptions -fno-rtti.
#include "room.hpp"

static ov3d::Status run(const char *model_path, const char *vocabulary_path) {
    auto model = ov3d::Model::load(model_path);
    if (!model) {
        return model.status();
    }
    auto vocabulary = ov3d::Vocabulary::load(vocabulary_path);
    if (!vocabulary) {
        return vocabulary.status();
    }
    auto session = ov3d::Session::create(*model);
    if (!session) {
        return session.status();
    }
    if (auto status = session->set_vocabulary(*vocabulary); !status) {
        return status;
    }
    const std::vector<Point> points = make_points();
    auto result = session->segment(ov3d::Cloud::of(points, &Point::x));
    if (!result) {
        return result.status();
    }
    auto view = result->view();
    if (!view) {
        return view.status();
    }
    print_labels(*vocabulary, *view);
    return {};
}

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: hello MODEL VOCABULARY\n");
        return 2;
    }
    ov3d::Status status = run(argv[1], argv[2]);
    if (!status) {
        std::fprintf(stderr, "hello: %s\n", status.message().c_str());
        return 1;
    }
    return 0;
}
