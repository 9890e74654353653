// The race check of shared memory: two threads may touch a byte, one of them writing, only when a barrier orders them.
//
// Every thread has a vector clock; barriers and bar.warp.sync join those of their threads. An access is in order with
// an earlier one when its thread's clock has seen the other thread's step. Shuffles and votes order nothing: in PTX
// they do not order memory. A cp.async writes at a time nobody knows between its issue and the wait for its group.
#include <algorithm>
#include "worker.h"

namespace emu {

namespace {
struct Access {
    uint32_t thread, step, line, kind;
};
// A copy in flight comes after everything that any thread has seen.
constexpr uint32_t IN_FLIGHT = ~0u;
}  // namespace

struct Race {
    uint32_t threads = 0;
    // clocks[t][u]: the last step of thread u that t has seen; its own entry is its present step.
    std::vector<uint32_t> clocks;
    struct Byte {
        Access write{0, 0, 0, READ};
        std::vector<Access> reads;
    };
    std::vector<Byte> bytes;

    uint32_t* clock(uint32_t t) { return clocks.data() + static_cast<size_t>(t) * threads; }
    bool ordered(const Access& before, uint32_t t) {
        if (before.step == IN_FLIGHT) return false;
        return before.thread == t || before.step < clock(t)[before.thread];
    }
};

Race* race_create() { return new Race; }
void race_destroy(Race* race) { delete race; }

void race_reset(Race* r, uint32_t threads, uint32_t shared_bytes) {
    r->threads = threads;
    r->clocks.assign(static_cast<size_t>(threads) * threads, 0);
    for (uint32_t t = 0; t < threads; ++t) r->clock(t)[t] = 1;
    r->bytes.assign(shared_bytes, {});
}

void race_join(Race* r, const uint32_t* threads, uint32_t count) {
    if (count == 0) return;
    std::vector<uint32_t> joined(r->threads, 0);
    for (uint32_t i = 0; i < count; ++i) {
        const uint32_t* c = r->clock(threads[i]);
        for (uint32_t u = 0; u < r->threads; ++u) joined[u] = std::max(joined[u], c[u]);
    }
    // What was done up to here is seen by all; what follows is a new step.
    for (uint32_t i = 0; i < count; ++i) ++joined[threads[i]];
    for (uint32_t i = 0; i < count; ++i) {
        uint32_t* c = r->clock(threads[i]);
        for (uint32_t u = 0; u < r->threads; ++u) c[u] = joined[u];
    }
}

static const char* name(const Access& a) {
    if (a.step == IN_FLIGHT) return "copy in flight (cp.async)";
    return a.kind == READ ? "read" : a.kind == WRITE ? "write" : "atomic";
}

static void report(Thread* t, uint32_t offset, const Access& before, const Access& now) {
    const Thread& other = t->block->thread[before.thread];
    fail(t, Fault::Failed, now.line, "race at offset %u of shared memory: this %s and the %s by thread (%u,%u,%u) in line %u "
         "have no barrier between them", offset, name(now), name(before), other.tid[0], other.tid[1], other.tid[2],
         before.line);
}

static void access(Thread* t, uint32_t offset, uint32_t bytes, const Access& now) {
    Race* r = t->block->race;
    for (uint32_t i = offset; i < offset + bytes; ++i) {
        Race::Byte& b = r->bytes[i];
        const bool both_atomic = now.kind == ATOMIC && b.write.kind == ATOMIC;
        if (b.write.kind != READ && !both_atomic && !r->ordered(b.write, now.thread)) report(t, i, b.write, now);
        if (now.kind == READ) {
            const auto mine = [&](const Access& a) { return a.thread == now.thread; };
            const auto found = std::find_if(b.reads.begin(), b.reads.end(), mine);
            if (found == b.reads.end()) b.reads.push_back(now);
            else *found = now;
            continue;
        }
        for (const Access& read : b.reads)
            if (!r->ordered(read, now.thread)) report(t, i, read, now);
        b.reads.clear();
        b.write = now;
    }
}

void race_access(Thread* t, uint32_t offset, uint32_t bytes, uint32_t kind, uint32_t line) {
    access(t, offset, bytes, {t->index, t->block->race->clock(t->index)[t->index], line, kind});
}

void race_copy_issued(Thread* t, uint32_t offset, uint32_t bytes, uint32_t line) {
    access(t, offset, bytes, {t->index, t->block->race->clock(t->index)[t->index], line, WRITE});
    for (uint32_t i = offset; i < offset + bytes; ++i) t->block->race->bytes[i].write.step = IN_FLIGHT;
}

void race_copy_landed(Thread* t, uint32_t offset, uint32_t bytes) {
    Race* r = t->block->race;
    for (uint32_t i = offset; i < offset + bytes; ++i)
        if (r->bytes[i].write.thread == t->index && r->bytes[i].write.step == IN_FLIGHT)
            r->bytes[i].write.step = r->clock(t->index)[t->index];
}
}  // namespace emu
