// Barriers, and what the lanes of a warp do together.
#include "memory.h"
#include "settings.h"
#include "worker.h"

namespace emu {
namespace {

void wake(Block* b, Barrier& barrier) {
    uint32_t woken[1024], count = 0;
    for (uint32_t i = 0; i < b->warps; ++i) {
        for (uint32_t lanes = barrier.waiting[i]; lanes != 0; lanes &= lanes - 1) {
            Thread& t = b->warp[i].threads[std::countr_zero(lanes)];
            t.state = State::Ready;
            t.barrier_result = barrier.accumulated;
            woken[count++] = t.index;
        }
        b->warp[i].ready |= barrier.waiting[i];
        barrier.waiting[i] = 0;
    }
    // Threads that only arrived are not waiting; what they did before is seen all the same, but they are not known
    // here, so the race check takes their writes as unordered only when they use `bar.arrive`.
    if (b->race) race_join(b->race, woken, count, count == b->alive);
    barrier.arrived = barrier.expected = barrier.operation = 0;
    b->barriers_in_use &= ~(1u << (&barrier - b->barriers));
    ++b->worker->progress;
}

bool complete(const Block* b, const Barrier& barrier) {
    return barrier.arrived >= (barrier.expected ? barrier.expected : b->alive);
}

Barrier& come_to(Thread* t, uint32_t id, uint32_t count, uint32_t operation, uint32_t line) {
    Block* b = t->block;
    if (id >= BARRIERS) fail(t, Fault::Failed, line, "barrier %u: there are %u", id, BARRIERS);
    if (count % WARP != 0) fail(t, Fault::Failed, line, "barrier %u for %u threads: no multiple of %u", id, count, WARP);
    Barrier& barrier = b->barriers[id];
    if (barrier.arrived == 0) {
        barrier.expected = count;
        barrier.operation = operation;
        barrier.accumulated = operation == AND;
    } else if (barrier.expected != count || barrier.operation != operation) {
        fail(t, Fault::Failed, line, "barrier %u with %u threads, where others came to it with %u", id, count,
             barrier.expected);
    }
    b->barriers_in_use |= 1u << id;
    ++barrier.arrived;
    return barrier;
}

void wait_at(Thread* t, Barrier& barrier, uint32_t id, bool aligned, uint32_t line) {
    Warp* w = t->warp;
    const uint32_t number = static_cast<uint32_t>(w - t->block->warp);
    if (barrier.waiting[number] != 0 && aligned && barrier.line[number] != line)
        fail(t, Fault::Failed, line, "divergence: lanes of one warp are at barrier %u in lines %u and %u", id,
             barrier.line[number], line);
    barrier.line[number] = line;
    barrier.waiting[number] |= 1u << t->lane;
    t->state = State::Barrier;
    t->waits = "a barrier";
    t->line = line;
    t->slot = id;
    w->ready &= ~(1u << t->lane);
    if (complete(t->block, barrier)) wake(t->block, barrier);
    else leave(t);
}

void finish(Warp* w, Slot& slot) {
    const uint32_t lanes = slot.arrived;
    if (slot.finish) slot.finish(w, &slot);
    slot.arrived = 0;
    w->meeting &= ~(1u << (&slot - w->slots));
    w->ready |= lanes;
    for (uint32_t left = lanes; left != 0; left &= left - 1) w->threads[std::countr_zero(left)].state = State::Ready;
    ++w->block->worker->progress;
}

// The collective in flight of these lanes, or a free place for it: lanes may wait in one of some lanes while others,
// done with theirs, have gone on to one of all.
Slot& find(Warp* w, uint32_t mask) {
    for (uint32_t left = w->meeting; left != 0; left &= left - 1)
        if (Slot& slot = w->slots[std::countr_zero(left)]; slot.mask == mask) return slot;
    return w->slots[std::countr_one(w->meeting)];
}

Slot& enter(Thread* t, uint32_t mask, uint32_t key, const char* what, void (*finish)(Warp*, Slot*), uint32_t line) {
    if (!(mask >> t->lane & 1))
        fail(t, Fault::Failed, line, "%s with mask %08x, which lacks the calling lane %u", what, mask, t->lane);
    Warp* w = t->warp;
    Slot& slot = find(w, mask);
    if (slot.arrived == 0) {
        slot.mask = mask;
        slot.key = key;
        slot.what = what;
        slot.finish = finish;
        w->meeting |= 1u << (&slot - w->slots);
    } else if (slot.mask != mask || slot.key != key) {
        fail(t, Fault::Failed, line, "divergence: %s with mask %08x, where lanes %08x wait at %s with mask %08x", what, mask,
             slot.arrived, slot.what, slot.mask);
    }
    return slot;
}

void meet(Thread* t, Slot& slot, uint32_t line) {
    Warp* w = t->warp;
    slot.arrived |= 1u << t->lane;
    if (slot.arrived == (slot.mask & w->alive)) {
        finish(w, slot);
        return;
    }
    t->state = State::Warp;
    t->waits = slot.what;
    t->line = line;
    t->slot = static_cast<uint32_t>(&slot - w->slots);
    w->ready &= ~(1u << t->lane);
    leave(t);
}

constexpr uint32_t POISON = ~0u;

template <class F> void each(const Slot* s, F f) {
    for (uint32_t left = s->arrived; left != 0; left &= left - 1) f(static_cast<uint32_t>(std::countr_zero(left)));
}

void finish_shuffle(Warp*, Slot* s) {
    each(s, [s](uint32_t lane) {
        const uint32_t control = s->in[2][lane], limit = control & 31, segment = control >> 8 & 31;
        const int by = s->in[1][lane] & 31, me = static_cast<int>(lane);
        const int last = static_cast<int>((lane & segment) | (limit & ~segment)), first = static_cast<int>(lane & segment);
        int from;
        bool inside;
        switch (s->in[3][lane]) {
            case UP: from = me - by, inside = from >= last; break;
            case DOWN: from = me + by, inside = from <= last; break;
            case BUTTERFLY: from = me ^ by, inside = from <= last; break;
            default: from = first | (by & static_cast<int>(~segment)), inside = from <= last;
        }
        if (!inside) from = me;
        s->out[0][lane] = s->arrived >> from & 1 ? s->in[0][from] : POISON;
        s->out[1][lane] = inside;
    });
}

void finish_ballot(Warp*, Slot* s) {
    uint32_t votes = 0;
    each(s, [&](uint32_t lane) { votes |= s->in[0][lane] << lane; });
    each(s, [&](uint32_t lane) { s->out[0][lane] = votes; });
}

uint64_t wide_value(const Slot* s, uint32_t lane) { return static_cast<uint64_t>(s->in[1][lane]) << 32 | s->in[0][lane]; }

void finish_match_any(Warp*, Slot* s) {
    each(s, [s](uint32_t lane) {
        uint32_t same = 0;
        each(s, [&](uint32_t other) { same |= static_cast<uint32_t>(wide_value(s, lane) == wide_value(s, other)) << other; });
        s->out[0][lane] = same;
    });
}

void finish_match_all(Warp*, Slot* s) {
    const uint64_t first = wide_value(s, static_cast<uint32_t>(std::countr_zero(s->arrived)));
    bool all = true;
    each(s, [&](uint32_t lane) { all &= wide_value(s, lane) == first; });
    each(s, [&](uint32_t lane) { s->out[0][lane] = all ? s->arrived : 0, s->out[1][lane] = all; });
}

void finish_reduce(Warp*, Slot* s) {
    const uint32_t first = static_cast<uint32_t>(std::countr_zero(s->arrived));
    const uint32_t operation = s->in[1][first];
    const bool is_signed = s->in[2][first];
    uint32_t sum = s->in[0][first];
    each(s, [&](uint32_t lane) {
        const uint32_t v = s->in[0][lane];
        const bool less = is_signed ? static_cast<int32_t>(v) < static_cast<int32_t>(sum) : v < sum;
        if (lane == first) return;
        switch (operation) {
            case SUM: sum += v; break;
            case LEAST: sum = less ? v : sum; break;
            case GREATEST: sum = less ? sum : v; break;
            case ALL_BITS: sum &= v; break;
            case ANY_BITS: sum |= v; break;
            default: sum ^= v;
        }
    });
    each(s, [&](uint32_t lane) { s->out[0][lane] = sum; });
}

void finish_warp_barrier(Warp* w, Slot* s) {
    if (!w->block->race) return;
    uint32_t joined[WARP], count = 0;
    each(s, [&](uint32_t lane) { joined[count++] = w->threads[lane].index; });
    race_join(w->block->race, joined, count, count == w->block->alive);
}

// What may not meet in one collective; shuffles add their mode.
enum : uint32_t { KEY_BALLOT = 1, KEY_MATCH_ANY, KEY_MATCH_ALL, KEY_BARRIER, KEY_REDUCE = 16, KEY_SHUFFLE = 32, KEY_LINE = 64 };

}  // namespace

void barrier_sync(Thread* t, uint32_t id, uint32_t count, bool aligned, uint32_t line) {
    wait_at(t, come_to(t, id, count, 0, line), id, aligned, line);
}

void barrier_arrive(Thread* t, uint32_t id, uint32_t count, uint32_t line) {
    if (count == 0) fail(t, Fault::Failed, line, "bar.arrive without a number of threads");
    Barrier& barrier = come_to(t, id, count, 0, line);
    if (complete(t->block, barrier)) wake(t->block, barrier);
}

uint32_t barrier_reduce(Thread* t, uint32_t id, uint32_t count, uint32_t operation, bool value, uint32_t line) {
    Barrier& barrier = come_to(t, id, count, operation, line);
    if (operation == COUNT) barrier.accumulated += value;
    if (operation == AND) barrier.accumulated &= static_cast<uint32_t>(value);
    if (operation == OR) barrier.accumulated |= static_cast<uint32_t>(value);
    wait_at(t, barrier, id, true, line);
    return t->barrier_result;
}

void barrier_after_exit(Block* b) {
    for (Barrier& barrier : b->barriers)
        if (barrier.arrived != 0 && complete(b, barrier)) wake(b, barrier);
}

void warp_after_exit(Warp* w, uint32_t lane) {
    for (Slot& slot : w->slots)
        if (slot.arrived != 0 && (slot.mask >> lane & 1) && slot.arrived == (slot.mask & w->alive)) finish(w, slot);
}

void warp_barrier(Thread* t, uint32_t mask, uint32_t line) {
    meet(t, enter(t, mask, KEY_BARRIER, "bar.warp.sync", finish_warp_barrier, line), line);
}

Shuffled shuffle(Thread* t, uint32_t mode, uint32_t value, uint32_t by, uint32_t control, uint32_t mask, uint32_t line) {
    static const char* const NAMES[] = {"shfl.up", "shfl.down", "shfl.bfly", "shfl.idx"};
    Slot& s = enter(t, mask, KEY_SHUFFLE + mode, NAMES[mode], finish_shuffle, line);
    const uint32_t lane = t->lane;
    s.in[0][lane] = value;
    s.in[1][lane] = by;
    s.in[2][lane] = control;
    s.in[3][lane] = mode;
    meet(t, s, line);
    return {s.out[0][lane], s.out[1][lane] != 0};
}

uint32_t ballot(Thread* t, bool value, uint32_t mask, uint32_t line) {
    Slot& s = enter(t, mask, KEY_BALLOT, "vote", finish_ballot, line);
    s.in[0][t->lane] = value;
    meet(t, s, line);
    return s.out[0][t->lane];
}

Matched match(Thread* t, bool all, uint64_t value, uint32_t mask, uint32_t line) {
    Slot& s = enter(t, mask, all ? KEY_MATCH_ALL : KEY_MATCH_ANY, "match", all ? finish_match_all : finish_match_any, line);
    s.in[0][t->lane] = static_cast<uint32_t>(value);
    s.in[1][t->lane] = static_cast<uint32_t>(value >> 32);
    meet(t, s, line);
    return {s.out[0][t->lane], all && s.out[1][t->lane] != 0};
}

uint32_t reduce(Thread* t, uint32_t operation, bool is_signed, uint32_t value, uint32_t mask, uint32_t line) {
    Slot& s = enter(t, mask, KEY_REDUCE + operation, "redux", finish_reduce, line);
    s.in[0][t->lane] = value;
    s.in[1][t->lane] = operation;
    s.in[2][t->lane] = is_signed;
    meet(t, s, line);
    return s.out[0][t->lane];
}

void together(Thread* t, void (*finish)(Warp*), const char* what, uint32_t line) {
    Warp* w = t->warp;
    if (w->alive != ~0u)
        fail(t, Fault::Failed, line, "%s in a warp of which only lanes %08x run", what, w->alive);
    Slot& s = enter(t, ~0u, KEY_LINE + line, what, nullptr, line);
    if ((s.arrived | 1u << t->lane) == ~0u) finish(w);
    meet(t, s, line);
}

// ---- asynchronous copies

namespace {
void land(Thread* t, const Copy& c) {
    if (!c.landed) {
        if (c.bytes != 0) memcpy(c.to, c.from, c.bytes);
        memset(c.to + c.bytes, 0, c.zeros);
    }
    if (t->block->race) race_copy_landed(t, c.offset, c.bytes + c.zeros);
    if (t->block->written) memset(t->block->written + c.offset, 1, c.bytes + c.zeros);
}
}  // namespace

void copy_async(Thread* t, uint32_t to, uint64_t from, uint32_t bytes, uint32_t source_bytes, uint32_t line) {
    const uint32_t used = std::min(bytes, source_bytes);
    Block* b = t->block;
    const uint32_t at = to - SHARED_FIRST;
    if (at >= b->shared_bytes || b->shared_bytes - at < bytes || to % bytes != 0)
        shared_fault(t, to, bytes, line, "cp.async");
    if (from % bytes != 0) fail(t, Fault::Misaligned, line, "cp.async from %#llx: not aligned to %u bytes",
                                static_cast<unsigned long long>(from), bytes);
    // Only what is read has to exist.
    const uint8_t* source = nullptr;
    if (used != 0) source = global_bytes(t, from, used, line);
    if (b->race) race_copy_issued(t, at, bytes, line);
    const Landing landing = settings().landing;
    const bool now = landing == Landing::Eager || (landing == Landing::Mixed && (draw(b->random) & 1));
    if (now) {
        if (used != 0) memcpy(b->shared + at, source, used);
        memset(b->shared + at + used, 0, bytes - used);
    }
    // To the race check a copy is in flight until its wait, however early it lands.
    if (!now || b->watches_shared) t->copies.push_back({b->shared + at, source, used, bytes - used, at, now});
}

void copies_commit(Thread* t) { t->groups.push_back(static_cast<uint32_t>(t->copies.size())); }

void copies_wait(Thread* t, uint32_t keep) {
    auto& groups = t->groups;
    if (groups.size() <= keep) return;
    const size_t count = groups.size() - keep;
    const uint32_t upto = groups[count - 1];
    for (uint32_t i = 0; i < upto; ++i) land(t, t->copies[i]);
    t->copies.erase(t->copies.begin(), t->copies.begin() + upto);
    groups.erase(groups.begin(), groups.begin() + static_cast<ptrdiff_t>(count));
    for (uint32_t& end : groups) end -= upto;
}
}  // namespace emu
