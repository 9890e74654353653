// hello_throwing.cpp - label a cloud with errors as exceptions.
#include "room.hpp"

using ov3d::or_throw;

static void run(const char *model_path, const char *vocabulary_path) {
    const auto model = or_throw(ov3d::Model::load(model_path));
    const auto vocabulary = or_throw(ov3d::Vocabulary::load(vocabulary_path));
    const auto session = or_throw(ov3d::Session::create(model));
    or_throw(session.set_vocabulary(vocabulary));

    const std::vector<Point> points = make_points();
    const auto result = or_throw(session.segment(ov3d::Cloud::of(points, &Point::x)));
    print_labels(vocabulary, or_throw(result.view()));
}

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: hello_throwing MODEL VOCABULARY\n");
        return 2;
    }
    try {
        run(argv[1], argv[2]);
    } catch (const ov3d::Exception &error) {
        std::fprintf(stderr, "hello_throwing: %s\n", error.what());
        return 1;
    }
    return 0;
}
