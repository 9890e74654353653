// What the sort of keys must know of them.
#pragma once
#include "types.cuh"

// Which bits of the keys may differ: passes over other bits are left out. Mirrors `KeyBits` in backend/cuda/sort.rs.
struct KeyBits {
    u64 differing;        // among keys that are not NO_KEY
    u32 absent;           // whether any key is NO_KEY
    u32 reserved;
};
