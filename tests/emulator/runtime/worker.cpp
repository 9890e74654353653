// Fibers, the scheduler of a block and the spreading of blocks over the cores.
#include "worker.h"
#include "memory.h"
#include <sched.h>
#include <sys/mman.h>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <thread>
#include "settings.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
// Fibers that end in the middle of a frame leave its red zones behind.
static void forget_frames(void* from, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(from, bytes); }
constexpr size_t STACK = 1 << 20;
#else
static void forget_frames(void*, size_t) {}
constexpr size_t STACK = 128 << 10;
#endif

// Saves the callee's registers and the stack pointer, and goes on with another stack.
extern "C" void ov_emu_switch(void** save, void* to);
asm(R"(
.text
.globl ov_emu_switch
.hidden ov_emu_switch
.type ov_emu_switch,@function
ov_emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size ov_emu_switch,.-ov_emu_switch

.globl ov_emu_start
.hidden ov_emu_start
.type ov_emu_start,@function
ov_emu_start:
    movq %rbx, %rdi
    call ov_emu_fiber
    ud2
.size ov_emu_start,.-ov_emu_start
)");
extern "C" void ov_emu_start();

namespace emu {

constexpr size_t PAGE = 4096;

// The switch, and what the sanitizer has to know about it: whose stack comes next.
static void go(void** save, void* to, [[maybe_unused]] const Worker* worker) {
#if defined(__SANITIZE_ADDRESS__)
    void* frames = nullptr;
    const auto [bottom, bytes] = worker->stack_around(to);
    __sanitizer_start_switch_fiber(&frames, bottom, bytes);
    ov_emu_switch(save, to);
    __sanitizer_finish_switch_fiber(frames, nullptr, nullptr);
#else
    ov_emu_switch(save, to);
#endif
}

std::pair<const void*, size_t> Worker::stack_around(const void* pointer) const {
    const auto offset = static_cast<size_t>(static_cast<const uint8_t*>(pointer) - stacks_);
    if (stacks_ && offset < stack_count_ * (STACK + PAGE))
        return {stacks_ + offset / (STACK + PAGE) * (STACK + PAGE) + PAGE, STACK};
    return {own_stack_, own_stack_bytes_};
}

namespace {

uint8_t* map(size_t bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "ov-emu: %zu bytes for fibers could not be reserved\n", bytes);
        abort();
    }
    return static_cast<uint8_t*>(p);
}

std::string place(const Thread* t) {
    const Block* b = t->block;
    char text[160];
    snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u)", b->id.x, b->id.y, b->id.z, t->tid[0], t->tid[1],
             t->tid[2]);
    return text;
}

std::string headline(const Kernel* kernel, uint32_t line) {
    std::string text = std::string("kernel ") + kernel->name + " (" + kernel->file;
    if (line != 0) text += ":" + std::to_string(line);
    return text + "): ";
}

}  // namespace

void fail(Thread* t, Fault fault, uint32_t line, const char* format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    Worker* worker = t->block->worker;
    if (worker->failure.fault == Fault::None)
        worker->failure = {fault, headline(t->block->launch.kernel, line) + place(t) + ": " + text};
    for (;;) go(&t->stack, worker->scheduler, worker);
}

void leave(Thread* t) { go(&t->stack, t->block->worker->next_stack(t->warp), t->block->worker); }

void poll(Thread* t, const char* what, uint32_t line) {
    t->state = State::Poll;
    t->waits = what;
    t->line = line;
    t->warp->ready &= ~(1u << t->lane);
    t->warp->polling |= 1u << t->lane;
    leave(t);
}

void exit_thread(Thread* t) {
    Warp* w = t->warp;
    Block* b = t->block;
    t->state = State::Done;
    w->ready &= ~(1u << t->lane);
    w->alive &= ~(1u << t->lane);
    --b->alive;
    ++b->worker->progress;
    if (w->meeting != 0) warp_after_exit(w, t->lane);
    if (b->barriers_in_use != 0) barrier_after_exit(b);
    for (;;) leave(t);
}

void exit_kernel(Thread* t) {
    if (!t->copies.empty()) copies_wait_all(t);
    exit_thread(t);
}

void assert_failed(Thread* t, uint64_t message, uint64_t file, uint32_t file_line, uint32_t line) {
    const auto text = [&](uint64_t from) {
        std::string found;
        for (char c; found.size() < 200 && (c = get<char>(generic_at<1>(t, from + found.size(), line, READ))) != 0;)
            found += c;
        return found;
    };
    fail(t, Fault::Assert, line, "assertion '%s' in %s:%u", text(message).c_str(), text(file).c_str(), file_line);
}

// Where a fiber begins: `ov_emu_start` finds the thread in the register that its first switch restores.
extern "C" __attribute__((visibility("hidden"), used)) void ov_emu_fiber(Thread* t) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    t->block->launch.kernel->run(t);
    exit_kernel(t);
}

Worker::Worker() {
#if defined(__SANITIZE_ADDRESS__)
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        void* bottom;
        pthread_attr_getstack(&attributes, &bottom, &own_stack_bytes_);
        own_stack_ = bottom;
        pthread_attr_destroy(&attributes);
    }
#endif
}

Worker::~Worker() {
    if (stacks_) {
        forget_frames(stacks_, stack_count_ * (STACK + PAGE));
        munmap(stacks_, stack_count_ * (STACK + PAGE));
    }
    free(warps_);
    free(shared_);
    free(local_);
    if (block_.race) race_destroy(block_.race);
}

void Worker::reserve(uint32_t threads, uint32_t shared, uint32_t local) {
    if (threads > stack_count_) {
        if (stacks_) munmap(stacks_, stack_count_ * (STACK + PAGE));
        free(warps_);
        stack_count_ = threads;
        stacks_ = map(stack_count_ * (STACK + PAGE));
        // A page below each stack that faults, so that an overflow is no silent damage.
        for (uint32_t i = 0; i < threads; ++i) mprotect(stacks_ + i * (STACK + PAGE), PAGE, PROT_NONE);
        threads_ = std::make_unique<Thread[]>(threads);
        const size_t bytes = sizeof(Warp) * ((threads + WARP - 1) / WARP);
        warps_ = static_cast<Warp*>(aligned_alloc(64, (bytes + 63) / 64 * 64));
    }
    if (shared > shared_room_) {
        free(shared_);
        shared_room_ = (shared + 1023) / 1024 * 1024;
        shared_ = static_cast<uint8_t*>(aligned_alloc(1024, shared_room_));
    }
    const size_t locals = static_cast<size_t>(local) * threads;
    if (locals > local_room_) {
        free(local_);
        local_room_ = (locals + 63) / 64 * 64;
        local_ = static_cast<uint8_t*>(aligned_alloc(64, local_room_));
    }
}

void Worker::prepare(const Launch& launch, Dim id, uint64_t number) {
    const Kernel* k = launch.kernel;
    const Dim d = launch.block;
    Block& b = block_;
    b.launch = launch;
    b.id = id;
    b.threads = b.alive = d.x * d.y * d.z;
    b.warps = (b.threads + WARP - 1) / WARP;
    const uint32_t align = std::max(k->shared_align, 16u);
    const uint32_t start = (k->static_shared + align - 1) / align * align;
    b.dynamic_offset = SHARED_FIRST + start;
    b.shared_bytes = launch.dynamic_shared ? start + launch.dynamic_shared : k->static_shared;
    const uint32_t local = (k->local_bytes + 15) / 16 * 16;
    reserve(b.threads, std::max(b.shared_bytes, 1u), local);
    b.shared = shared_;
    b.thread = threads_.get();
    b.warp = warps_;
    b.worker = this;
    b.barriers_in_use = 0;
    memset(b.barriers, 0, sizeof b.barriers);
    memset(shared_, 0xff, b.shared_bytes);
    b.random = (settings().seed * 2654435761u) ^ static_cast<uint32_t>(number * 40503u + 0x9e3779b9u);
    if (b.random == 0) b.random = 1;
    if (settings().race_check) {
        if (!b.race) b.race = race_create();
        race_reset(b.race, b.threads, b.shared_bytes);
    }
    if (settings().init_check) written_.assign(std::max(b.shared_bytes, 1u), 0);
    b.written = settings().init_check ? written_.data() : nullptr;
    b.watches_shared = settings().race_check || settings().init_check;
    b.watches_global = settings().init_check;
    failure = {};
    forget_frames(stacks_, stack_count_ * (STACK + PAGE));
    for (uint32_t i = 0; i < b.warps; ++i) {
        Warp& w = warps_[i];
        const uint32_t lanes = std::min(b.threads - i * WARP, WARP);
        w.ready = w.alive = w.members = lanes == WARP ? ~0u : (1u << lanes) - 1;
        w.block = &b;
        w.threads = b.thread + i * WARP;
        w.polling = w.meeting = 0;
        for (Slot& s : w.slots) s.arrived = 0;
    }
    for (uint32_t i = 0; i < b.threads; ++i) {
        Thread& t = b.thread[i];
        t.block = &b;
        t.warp = &warps_[i / WARP];
        t.tid[0] = i % d.x;
        t.tid[1] = i / d.x % d.y;
        t.tid[2] = i / (d.x * d.y);
        t.index = i;
        t.lane = i % WARP;
        t.local_top = 0;
        t.local = local_ + static_cast<size_t>(i) * local;
        t.state = State::Ready;
        t.waits = "its start";
        t.line = 0;
        t.polls = 0;
        t.copies.clear();
        t.groups.clear();
        // Tops of stacks at varied distances from the page: equal ones would compete for the same lines of the cache.
        uint8_t* top = stacks_ + (i + 1) * (STACK + PAGE) - i % 59 * 320;
        void** sp = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(63)) - 1;
        *--sp = nullptr;
        *--sp = reinterpret_cast<void*>(ov_emu_start);
        for (void* saved : {static_cast<void*>(nullptr), static_cast<void*>(&t), static_cast<void*>(nullptr),
                            static_cast<void*>(nullptr), static_cast<void*>(nullptr), static_cast<void*>(nullptr)})
            *--sp = saved;
        t.stack = sp;
    }
}

void* Worker::next_stack(Warp* warp) {
    const uint32_t ready = warp->ready;
    if (ready == 0) return scheduler;
    uint32_t lane;
    switch (settings().order) {
        case Order::Forward: lane = std::countr_zero(ready); break;
        case Order::Reverse: lane = 31 - std::countl_zero(ready); break;
        default: {
            const uint32_t r = draw(block_.random);
            // Now and then another warp gets its turn in the middle of this one's.
            if ((r & 31) == 0) return scheduler;
            uint32_t left = ready;
            for (uint32_t skip = (r >> 5) % std::popcount(ready); skip > 0; --skip) left &= left - 1;
            lane = std::countr_zero(left);
        }
    }
    return warp->threads[lane].stack;
}

void Worker::schedule() {
    const Order order = settings().order;
    uint64_t seen = ~0ull;
    std::chrono::steady_clock::time_point since;
    while (block_.alive > 0) {
        bool ran = false;
        const uint32_t turn = order == Order::Random ? draw(block_.random) % block_.warps : 0;
        for (uint32_t i = 0; i < block_.warps; ++i) {
            const uint32_t at = order == Order::Reverse ? block_.warps - 1 - i : (i + turn) % block_.warps;
            Warp& w = warps_[at];
            if (w.ready == 0) continue;
            ran = true;
            void* to = next_stack(&w);
            if (to == scheduler) continue;
            go(&scheduler, to, this);
            if (failure.fault != Fault::None) return;
        }
        if (ran) continue;
        bool polled = false;
        for (uint32_t i = 0; i < block_.warps; ++i) {
            Warp& w = warps_[i];
            for (uint32_t lanes = w.polling; lanes != 0; lanes &= lanes - 1)
                w.threads[std::countr_zero(lanes)].state = State::Ready;
            polled |= w.polling != 0;
            w.ready |= w.polling;
            w.polling = 0;
        }
        if (!polled) return report_deadlock();
        // Only threads that wait for memory are left: other blocks may have to run first.
        const auto now = std::chrono::steady_clock::now();
        if (progress != seen) {
            seen = progress;
            since = now;
        } else if (std::chrono::duration<double>(now - since).count() > settings().timeout) {
            return report_deadlock();
        }
        sched_yield();
    }
}

void Worker::report_deadlock() {
    const Thread* found = nullptr;
    for (uint32_t i = 0; i < block_.threads; ++i) {
        const Thread& t = block_.thread[i];
        // A collective that lacks lanes says more than the barrier those lanes have gone to.
        if (t.state == State::Warp || (t.state != State::Done && !found)) found = &t;
        if (t.state == State::Warp) break;
    }
    std::string text = headline(block_.launch.kernel, found->line) + place(found) + ": ";
    char detail[200];
    if (found->state == State::Warp) {
        const Slot& s = found->warp->slots[found->slot];
        const uint32_t missing = s.mask & found->warp->alive & ~s.arrived;
        const Thread& other = found->warp->threads[std::countr_zero(missing)];
        snprintf(detail, sizeof detail, "divergence: %s with mask %08x lacks lanes %08x; lane %u is at %s in line %u",
                 found->waits, s.mask, missing, other.lane, other.waits, other.line);
    } else if (found->state == State::Barrier) {
        const Barrier& b = block_.barriers[found->slot];
        snprintf(detail, sizeof detail, "deadlock: %u of %u threads have come to barrier %u", b.arrived,
                 b.expected ? b.expected : block_.alive, found->slot);
    } else {
        snprintf(detail, sizeof detail, "no progress: still waiting at %s after %g s", found->waits, settings().timeout);
    }
    failure = {Fault::Timeout, text + detail};
}

Failure Worker::run(const Launch& launch, Dim id, uint64_t number) {
    prepare(launch, id, number);
    schedule();
    return failure;
}

namespace {

// Threads that live as long as the process and take blocks from the launch in hand.
class Pool {
public:
    explicit Pool(unsigned count) {
        for (unsigned i = 0; i < count; ++i) std::thread([this] { work(); }).detach();
        count_ = count;
    }

    Failure run(const Launch& launch) {
        launch_ = &launch;
        total_ = static_cast<uint64_t>(launch.grid.x) * launch.grid.y * launch.grid.z;
        next_ = 0;
        failure_ = {};
        // A stride without a common divisor visits every block once.
        stride_ = 1;
        first_ = 0;
        if (settings().order == Order::Random && total_ > 2) {
            uint32_t state = settings().seed * 2654435761u | 1;
            first_ = draw(state) % total_;
            do stride_ = 1 + draw(state) % (total_ - 1);
            while (std::gcd(stride_, total_) != 1);
        }
        std::unique_lock lock(mutex_);
        running_ = std::min<uint64_t>(count_, total_);
        wanted_ = running_;
        ++generation_;
        start_.notify_all();
        done_.wait(lock, [this] { return running_ == 0; });
        return failure_;
    }

private:
    void work() {
        Worker worker;
        uint64_t seen = 0;
        for (;;) {
            {
                std::unique_lock lock(mutex_);
                start_.wait(lock, [&] { return generation_ != seen; });
                seen = generation_;
                if (wanted_ == 0) continue;
                --wanted_;
            }
            const Dim grid = launch_->grid;
            for (uint64_t i = next_++; i < total_; i = next_++) {
                uint64_t at = static_cast<uint64_t>((first_ + static_cast<unsigned __int128>(i) * stride_) % total_);
                if (settings().order == Order::Reverse) at = total_ - 1 - at;
                const Dim id{static_cast<uint32_t>(at % grid.x), static_cast<uint32_t>(at / grid.x % grid.y),
                             static_cast<uint32_t>(at / grid.x / grid.y)};
                Failure failure = worker.run(*launch_, id, at);
                if (failure.fault != Fault::None) {
                    next_ = total_;
                    std::lock_guard lock(mutex_);
                    if (failure_.fault == Fault::None) failure_ = failure;
                }
            }
            std::lock_guard lock(mutex_);
            if (--running_ == 0) done_.notify_all();
        }
    }

    unsigned count_;
    std::mutex mutex_;
    std::condition_variable start_, done_;
    uint64_t generation_ = 0, running_ = 0, wanted_ = 0;
    const Launch* launch_ = nullptr;
    uint64_t total_ = 0, stride_ = 1, first_ = 0;
    std::atomic<uint64_t> next_{0};
    Failure failure_;
};

}  // namespace

Failure run_grid(const Launch& launch) {
    // Never destroyed: its threads may outlive the exit of the process.
    static Pool* pool = new Pool(settings().threads);
    return pool->run(launch);
}

const Settings& settings() {
    static const Settings read = [] {
        Settings s;
        s.threads = std::max(1u, std::thread::hardware_concurrency());
        const auto number = [](const char* name, auto& into) {
            if (const char* text = getenv(name)) into = static_cast<std::decay_t<decltype(into)>>(strtod(text, nullptr));
        };
        number("OV_EMU_THREADS", s.threads);
        number("OV_EMU_CC", s.capability);
        if (s.capability <= 0) s.capability = newest_target();
        number("OV_EMU_SMS", s.multiprocessors);
        number("OV_EMU_MEMORY", s.memory);
        number("OV_EMU_RACECHECK", s.race_check);
        number("OV_EMU_INITCHECK", s.init_check);
        number("OV_EMU_TIMEOUT", s.timeout);
        number("OV_EMU_DEVICES", s.devices);
        number("OV_EMU_DRIVER", s.driver_version);
        s.devices = std::clamp(s.devices, 0, MAX_DEVICES);
        s.threads = std::max(s.threads, 1u);
        if (const char* text = getenv("OV_EMU_STREAMS")) s.lazy_streams = !strcmp(text, "lazy");
        if (const char* text = getenv("OV_EMU_ORDER")) {
            if (!strcmp(text, "rev")) s.order = Order::Reverse;
            if (!strncmp(text, "rand", 4)) {
                s.order = Order::Random;
                if (text[4] == ':') s.seed = static_cast<uint32_t>(strtoul(text + 5, nullptr, 10));
            }
        }
        if (const char* text = getenv("OV_EMU_CPASYNC"))
            s.landing = !strcmp(text, "lazy") ? Landing::Lazy : !strcmp(text, "eager") ? Landing::Eager : Landing::Mixed;
        return s;
    }();
    return read;
}
}  // namespace emu
