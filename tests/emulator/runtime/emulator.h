// The machine: threads as fibers, warps, blocks, launches, and what generated code calls.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#if !defined(__x86_64__)
#error "the emulator's fiber switch is written for x86-64"
#endif

namespace emu {

// Device memory. Addresses that kernels and the host see lie in a range that the host cannot touch; their bytes lie
// elsewhere. `granules()[i]` says how many bytes of the i-th 256 are part of a live allocation.
constexpr uint64_t DEVICE = 0x200000000000, SPAN = 1ull << 38, BACKING = 0x300000000000, GRANULES = 0x280000000000;
constexpr unsigned GRANULE = 256;
// Notes of which bytes were written to, for the check of reads; same layout as the backing.
constexpr uint64_t WRITTEN = 0x310000000000;
inline const uint16_t* granules() { return reinterpret_cast<const uint16_t*>(GRANULES); }

// Generic addresses of the other spaces, and where shared offsets begin: nothing lies at zero.
constexpr uint64_t SHARED_WINDOW = 0x210000000000, LOCAL_WINDOW = 0x220000000000, PARAM_WINDOW = 0x230000000000;
constexpr uint64_t WINDOW = 1ull << 24;
constexpr uint32_t SHARED_FIRST = 1024;

constexpr unsigned WARP = 32, BARRIERS = 16;
// Words of 32 lanes that a batch of matrix operations may exchange.
constexpr unsigned WIDE = 512;

struct Dim {
    uint32_t x, y, z;
};

struct Block;
struct Thread;
struct Warp;
struct Race;
class Worker;

// One translated kernel.
struct Kernel {
    const char* name;
    const char* file;
    void (*run)(Thread*);
    uint32_t parameter_bytes, static_shared, shared_align, local_bytes, max_threads, parameters;
    // Offset and size of each parameter.
    const uint32_t (*layout)[2];
};

// A variable of a module, placed `offset` bytes into the module's memory.
struct Global {
    const char* name;
    uint32_t offset, bytes;
};

// One translated PTX file, found by the hash of its text.
struct Image {
    uint64_t hash;
    uint32_t target;
    const char* file;
    const Kernel* kernels;
    uint32_t kernel_count;
    const Global* globals;
    uint32_t global_count, global_bytes;
    const uint8_t* initial;
    // Offsets in the module's memory of words that hold addresses within it.
    const uint32_t* relocations;
    uint32_t relocation_count;
};
void register_image(const Image* image);
// The largest target of all images.
int newest_target();

enum class Fault { None = 0, Assert = 710, Address = 700, Misaligned = 716, Timeout = 702, Failed = 719 };

struct Launch {
    const Kernel* kernel;
    const uint8_t* parameters;
    uint64_t globals;
    Dim grid, block;
    uint32_t dynamic_shared;
};

// An asynchronous copy that has not landed.
struct Copy {
    uint8_t* to;
    const uint8_t* from;
    uint32_t bytes, zeros, offset;
    bool landed;
};

enum class State : uint8_t { Ready, Warp, Barrier, Poll, Done };

struct Thread {
    void* stack;
    Block* block;
    Warp* warp;
    uint32_t tid[3], index, lane;
    uint32_t local_top;
    uint8_t* local;
    // What it waits for, and since which line of the PTX.
    State state;
    const char* waits;
    uint32_t line;
    uint32_t barrier_result;
    uint32_t polls, slot;
    std::vector<Copy> copies;
    std::vector<uint32_t> groups;
};

// A collective in flight: the lanes of a mask.
struct Slot {
    uint32_t mask, arrived, key;
    const char* what;
    void (*finish)(Warp*, Slot*);
    uint32_t in[4][WARP], out[2][WARP];
};

struct Warp {
    uint32_t ready, alive, members;
    Block* block;
    Thread* threads;
    // Lanes that wait for memory to change, and slots with arrivals.
    uint32_t polling, meeting;
    Slot slots[WARP];
    alignas(64) uint32_t wide[WIDE][WARP];
};

struct Barrier {
    uint32_t arrived, expected, operation, accumulated, waiting_threads;
    uint32_t waiting[32], line[32];
};

struct Block {
    Launch launch;
    Dim id;
    uint32_t threads, alive, warps;
    uint8_t* shared;
    uint32_t shared_bytes, dynamic_offset;
    uint32_t barriers_in_use;
    Barrier barriers[BARRIERS];
    Thread* thread;
    Warp* warp;
    Worker* worker;
    Race* race;
    // A note for each byte of shared memory, where reads are checked.
    uint8_t* written;
    // Whether accesses to shared memory, and whether those to global memory, are watched.
    bool watches_shared, watches_global;
    uint32_t random;
};

// Ends the block with a message; the launch reports the first one.
[[noreturn]] void fail(Thread* t, Fault fault, uint32_t line, const char* format, ...)
    __attribute__((format(printf, 4, 5)));

[[noreturn]] void assert_failed(Thread* t, uint64_t message, uint64_t file, uint32_t file_line, uint32_t line);

// The end of a thread, wherever its kernel is.
[[noreturn]] void exit_kernel(Thread* t);

// Gives other threads a turn; for loops that wait for memory to change.
void poll(Thread* t, const char* what, uint32_t line);
inline void poll_sometimes(Thread* t, const char* what, uint32_t line) {
    if (__builtin_expect((++t->polls & 63) == 0, 0)) poll(t, what, line);
}

inline uint32_t draw(uint32_t& state) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

// ---- barriers
enum : uint32_t { COUNT = 1, AND = 2, OR = 3 };
void barrier_sync(Thread* t, uint32_t id, uint32_t count, bool aligned, uint32_t line);
void barrier_arrive(Thread* t, uint32_t id, uint32_t count, uint32_t line);
uint32_t barrier_reduce(Thread* t, uint32_t id, uint32_t count, uint32_t operation, bool value, uint32_t line);
void warp_barrier(Thread* t, uint32_t mask, uint32_t line);

// ---- collectives. `key` tells apart what may not meet: the operation, or the very instruction for aligned ones.
enum : uint32_t { UP, DOWN, BUTTERFLY, INDEX };
struct Shuffled {
    uint32_t value;
    bool inside;
};
Shuffled shuffle(Thread* t, uint32_t mode, uint32_t value, uint32_t lane, uint32_t control, uint32_t mask, uint32_t line);
uint32_t ballot(Thread* t, bool value, uint32_t mask, uint32_t line);
inline uint32_t active_mask(Thread* t) { return 1u << t->lane; }
struct Matched {
    uint32_t mask;
    bool all;
};
Matched match(Thread* t, bool all, uint64_t value, uint32_t mask, uint32_t line);
enum : uint32_t { SUM, LEAST, GREATEST, ALL_BITS, ANY_BITS, ODD_BITS };
uint32_t reduce(Thread* t, uint32_t operation, bool is_signed, uint32_t value, uint32_t mask, uint32_t line);

// ---- matrix operations, in batches: lanes write to `warp->wide`, `together` runs `finish` once, lanes read it again.
void together(Thread* t, void (*finish)(Warp*), const char* what, uint32_t line);
// Where one matrix product finds its operands and leaves its result, in words of `wide`.
struct Product {
    uint16_t a[4], b[2], c[4], d[4];
};
enum class Half { F16, BF16 };
void multiply_k16(Warp* w, const Product* products, unsigned count, Half format);
void multiply_k8(Warp* w, const Product* products, unsigned count, Half format);
// Loads 8x8 matrices whose row addresses lanes left in word `rows`, to words from `to` on.
void load_matrices(Warp* w, unsigned rows, unsigned to, unsigned count, bool transpose, uint32_t line);
// Stores the matrix in word `from` as the `number`-th of those whose row addresses stand in word `rows`.
void store_matrix(Warp* w, unsigned rows, unsigned from, unsigned number, bool transpose, uint32_t line);
void transpose_matrix(Warp* w, unsigned from, unsigned to);

// ---- asynchronous copies
void copy_async(Thread* t, uint32_t to, uint64_t from, uint32_t bytes, uint32_t source_bytes, uint32_t line);
void copies_commit(Thread* t);
void copies_wait(Thread* t, uint32_t keep);
inline void copies_wait_all(Thread* t) {
    copies_commit(t);
    copies_wait(t, 0);
}

// ---- the race check of shared memory
constexpr uint32_t READ = 0, WRITE = 1, ATOMIC = 2;
void race_access(Thread* t, uint32_t offset, uint32_t bytes, uint32_t kind, uint32_t line);
// That check and the one for reads of what was never written.
void watch_shared(Thread* t, uint32_t offset, uint32_t bytes, uint32_t kind, uint32_t line);
void watch_global(Thread* t, uint64_t address, uint32_t bytes, uint32_t kind, uint32_t line);
}  // namespace emu
