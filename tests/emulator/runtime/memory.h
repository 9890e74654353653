// Checked accesses to the state spaces, and atomics.
#pragma once
#include <algorithm>
#include <bit>
#include "emulator.h"

namespace emu {

// The bytes behind a device or host address that the fast check did not know, or a report.
uint8_t* global_slow(Thread* t, uint64_t address, uint32_t bytes, uint32_t line, bool write);
// Bytes to be read that need not be aligned or a power of two.
const uint8_t* global_bytes(Thread* t, uint64_t address, uint32_t bytes, uint32_t line);
[[noreturn]] void shared_fault(Thread* t, uint32_t offset, uint32_t bytes, uint32_t line, const char* what);
uint8_t* generic_slow(Thread* t, uint64_t address, uint32_t bytes, uint32_t line, bool write);
uint8_t* local_at(Thread* t, uint64_t offset, uint32_t bytes, uint32_t line);

template <uint32_t N> inline uint8_t* global_at(Thread* t, uint64_t address, uint32_t line, uint32_t kind) {
    const uint64_t offset = address - DEVICE;
    if (__builtin_expect(offset < SPAN && (address & (N - 1)) == 0 &&
                             (offset & (GRANULE - 1)) + N <= granules()[offset / GRANULE], 1)) {
        if (__builtin_expect(t->block->watches_global, 0)) watch_global(t, address, N, kind, line);
        return reinterpret_cast<uint8_t*>(BACKING + offset);
    }
    return global_slow(t, address, N, line, kind != READ);
}

template <uint32_t N> inline uint8_t* shared_at(Thread* t, uint32_t offset, uint32_t line, uint32_t kind) {
    const Block* b = t->block;
    const uint32_t at = offset - SHARED_FIRST;
    if (__builtin_expect(at >= b->shared_bytes || b->shared_bytes - at < N || (offset & (N - 1)) != 0, 0))
        shared_fault(t, offset, N, line, kind == READ ? "read" : "write");
    if (__builtin_expect(b->watches_shared, 0)) watch_shared(t, at, N, kind, line);
    return b->shared + at;
}

template <uint32_t N> inline uint8_t* generic_at(Thread* t, uint64_t address, uint32_t line, uint32_t kind) {
    if (address - SHARED_WINDOW < WINDOW)
        return shared_at<N>(t, static_cast<uint32_t>(address - SHARED_WINDOW), line, kind);
    const uint64_t offset = address - DEVICE;
    if (__builtin_expect(offset < SPAN, 1)) return global_at<N>(t, address, line, kind);
    return generic_slow(t, address, N, line, kind != READ);
}

// A function's variables in local memory, for as long as it runs.
struct Frame {
    Frame(Thread* thread, uint32_t bytes) : start(thread->local_top), owner(thread) {
        owner->local_top += bytes;
        memset(owner->local + start, 0xff, bytes);
    }
    ~Frame() { owner->local_top = start; }
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;
    const uint32_t start;
    Thread* const owner;
};

template <uint32_t N> inline uint8_t* param_at(Thread* t, uint64_t offset, uint32_t line) {
    const uint32_t bytes = t->block->launch.kernel->parameter_bytes;
    if (offset + N > bytes || (offset & (N - 1)) != 0)
        fail(t, Fault::Address, line, "read of %u bytes at offset %llu of %u bytes of parameters", N,
             static_cast<unsigned long long>(offset), bytes);
    return const_cast<uint8_t*>(t->block->launch.parameters) + offset;
}

template <class T> inline T get(const uint8_t* at) {
    T value;
    memcpy(&value, at, sizeof value);
    return value;
}
template <class T> inline void put(uint8_t* at, T value) { memcpy(at, &value, sizeof value); }

// For volatile, relaxed and acquire accesses: the compiler may not keep them in a register across a loop.
template <class T> inline T get_shared_state(const uint8_t* at) {
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, std::conditional_t<sizeof(T) == 4, uint32_t,
                 std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>>;
    return std::bit_cast<T>(__atomic_load_n(reinterpret_cast<const Bits*>(at), __ATOMIC_ACQUIRE));
}
template <class T> inline void put_shared_state(uint8_t* at, T value) {
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, std::conditional_t<sizeof(T) == 4, uint32_t,
                 std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>>;
    __atomic_store_n(reinterpret_cast<Bits*>(at), std::bit_cast<Bits>(value), __ATOMIC_RELEASE);
}

// Replaces the value at `p` by f(old) in one step and returns the old one. The loop is the compare-and-swap of the
// host, so that blocks on other cores take part.
template <class T, class F> inline T atomic_update(uint8_t* p, F f) {
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>;
    Bits* at = reinterpret_cast<Bits*>(p);
    Bits old = __atomic_load_n(at, __ATOMIC_RELAXED), wanted;
    do wanted = std::bit_cast<Bits>(static_cast<T>(f(std::bit_cast<T>(old))));
    while (!__atomic_compare_exchange_n(at, &old, wanted, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return std::bit_cast<T>(old);
}
template <class T> inline T atomic_add(uint8_t* p, T v) {
    return atomic_update<T>(p, [=](T old) { return static_cast<T>(old + v); });
}
template <class T> inline T atomic_min(uint8_t* p, T v) {
    return atomic_update<T>(p, [=](T old) { return std::min(old, v); });
}
template <class T> inline T atomic_max(uint8_t* p, T v) {
    return atomic_update<T>(p, [=](T old) { return std::max(old, v); });
}
template <class T> inline T atomic_and(uint8_t* p, T v) {
    return atomic_update<T>(p, [=](T old) { return old & v; });
}
template <class T> inline T atomic_or(uint8_t* p, T v) {
    return atomic_update<T>(p, [=](T old) { return old | v; });
}
template <class T> inline T atomic_xor(uint8_t* p, T v) {
    return atomic_update<T>(p, [=](T old) { return old ^ v; });
}
template <class T> inline T atomic_exch(uint8_t* p, T v) {
    return atomic_update<T>(p, [=](T) { return v; });
}
template <class T> inline T atomic_inc(uint8_t* p, T v) {
    return atomic_update<T>(p, [=](T old) { return old >= v ? 0 : old + 1; });
}
template <class T> inline T atomic_dec(uint8_t* p, T v) {
    return atomic_update<T>(p, [=](T old) { return old == 0 || old > v ? v : old - 1; });
}
template <class T> inline T atomic_cas(uint8_t* p, T wanted, T v) {
    return atomic_update<T>(p, [=](T old) { return old == wanted ? v : old; });
}
}  // namespace emu
