// What the environment asks for, read once when the library is loaded.
#pragma once
#include <cstdint>

namespace emu {

enum class Order { Forward, Reverse, Random };
enum class Landing { Lazy, Eager, Mixed };

constexpr int MAX_DEVICES = 8;

struct Settings {
    Order order = Order::Forward;
    uint32_t seed = 1;
    Landing landing = Landing::Mixed;
    unsigned threads;
    // Zero: that of the newest PTX in the library.
    int capability = 0;
    int multiprocessors = 4;
    uint64_t memory = 8ull << 30;
    bool race_check = false;
    bool init_check = false;
    bool lazy_streams = false;
    double timeout = 60.0;
    int devices = 1;
    int driver_version = 12080;
};
const Settings& settings();
}  // namespace emu
