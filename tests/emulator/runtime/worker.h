// One OS thread that runs blocks, one after the other.
#pragma once
#include <memory>
#include <utility>
#include "emulator.h"

namespace emu {

struct Failure {
    Fault fault = Fault::None;
    std::string message;
};

class Worker {
public:
    Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    ~Worker();

    // Runs one block to its end or to its first fault.
    Failure run(const Launch& launch, Dim id, uint64_t number);

    // The stack to go on with when a fiber of this warp stops: a lane's that is ready, or the scheduler's.
    void* next_stack(Warp* warp);

    // Lowest address and size of the stack that a pointer lies in.
    std::pair<const void*, size_t> stack_around(const void* pointer) const;

    void* scheduler = nullptr;
    Failure failure;
    // Counts what brings the block forward; when it stands still for too long, polling is a deadlock.
    uint64_t progress = 0;

private:
    void reserve(uint32_t threads, uint32_t shared, uint32_t local);
    void prepare(const Launch& launch, Dim id, uint64_t number);
    void schedule();
    void report_deadlock();

    const void* own_stack_ = nullptr;
    size_t own_stack_bytes_ = 0;
    uint8_t* stacks_ = nullptr;
    uint32_t stack_count_ = 0;
    std::unique_ptr<Thread[]> threads_;
    Warp* warps_ = nullptr;
    uint8_t* shared_ = nullptr;
    uint8_t* local_ = nullptr;
    size_t shared_room_ = 0, local_room_ = 0;
    Block block_{};
    std::vector<uint8_t> written_;
};

// Runs a whole grid on all cores and returns the first failure.
Failure run_grid(const Launch& launch);

// Leaves the fiber until its lane is ready again.
void leave(Thread* t);
// The fiber's end, seen by everything that counts threads.
void exit_thread(Thread* t);
void barrier_after_exit(Block* b);
void warp_after_exit(Warp* w, uint32_t lane);

// ---- the race check
Race* race_create();
void race_destroy(Race* race);
void race_reset(Race* race, uint32_t threads, uint32_t shared_bytes);
// These threads, which may be all of the block's, have seen all that any of them did.
void race_join(Race* race, const uint32_t* threads, uint32_t count, bool all);
void race_copy_issued(Thread* t, uint32_t offset, uint32_t bytes, uint32_t line);
void race_copy_landed(Thread* t, uint32_t offset, uint32_t bytes);
}  // namespace emu
