// What tests may ask of the emulator: counts of calls, failures to come, reports, what is still alive.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
#include "api.h"
#include "device.h"

namespace emu {
namespace {

// `name:3=2`: the third call returns status 2; `name:3+=2`: the third and all later ones.
struct Failure {
    std::string name;
    uint64_t first;
    bool onwards;
    int status;
    uint64_t seen = 0;
};

struct Control {
    std::mutex mutex;
    std::map<std::string, uint64_t> counts;
    std::vector<Failure> failures;
    std::string report;
    std::atomic<uint64_t> reports{0};
};

int default_status(const std::string& name) {
    if (name.rfind("kernel/", 0) == 0) return LAUNCH_FAILED;
    if (name.find("Alloc") != std::string::npos || name.rfind("cuModuleLoad", 0) == 0) return OUT_OF_MEMORY;
    return UNKNOWN;
}

void add_failures(std::vector<Failure>& into, const char* text) {
    std::string rest = text;
    while (!rest.empty()) {
        const size_t end = rest.find(',');
        std::string item = rest.substr(0, end);
        rest = end == std::string::npos ? "" : rest.substr(end + 1);
        Failure f{item, 1, false, 0};
        if (const size_t equals = item.find('='); equals != std::string::npos) {
            f.status = atoi(item.c_str() + equals + 1);
            item.resize(equals);
        }
        if (const size_t colon = item.find(':'); colon != std::string::npos) {
            f.onwards = item.back() == '+';
            f.first = strtoull(item.c_str() + colon + 1, nullptr, 10);
            item.resize(colon);
        }
        f.name = item;
        if (f.status == 0) f.status = default_status(f.name);
        if (!f.name.empty()) into.push_back(f);
    }
}

Control& control() {
    static Control* const made = [] {
        auto* c = new Control;
        if (const char* text = getenv("OV_EMU_FAIL")) add_failures(c->failures, text);
        return c;
    }();
    return *made;
}

Status failure_of(Control& c, const std::string& name) {
    int status = SUCCESS;
    for (Failure& f : c.failures)
        if (f.name == name) {
            ++f.seen;
            if (f.seen == f.first || (f.onwards && f.seen > f.first)) status = f.status;
        }
    return static_cast<Status>(status);
}

}  // namespace

struct Call::State {
    std::string name;
};

Call::Call(const char* name) : state_(new State{name}) {}

Status Call::enter() {
    Control& c = control();
    std::lock_guard lock(c.mutex);
    ++c.counts[state_->name];
    return failure_of(c, state_->name);
}

Status launch_failure(const char* kernel) {
    Control& c = control();
    const std::string name = std::string("kernel/") + kernel;
    std::lock_guard lock(c.mutex);
    ++c.counts[name];
    return failure_of(c, name);
}

void print_report(const std::string& text) {
    Control& c = control();
    {
        std::lock_guard lock(c.mutex);
        c.report = text;
        ++c.reports;
    }
    const char* quiet = getenv("OV_EMU_QUIET");
    if (!quiet || !strcmp(quiet, "0")) fprintf(stderr, "ov-emu: %s\n", text.c_str());
}
}  // namespace emu

using namespace emu;
#define CONTROL extern "C" __attribute__((visibility("default")))

// How often a function of the driver was called; `kernel/NAME` counts launches. All calls together for a null name.
CONTROL uint64_t ovEmuCalls(const char* name) {
    Control& c = control();
    std::lock_guard lock(c.mutex);
    if (name) {
        const auto found = c.counts.find(name);
        return found == c.counts.end() ? 0 : found->second;
    }
    uint64_t sum = 0;
    for (const auto& [of, count] : c.counts)
        if (of.find('/') == std::string::npos) sum += count;
    return sum;
}

CONTROL void ovEmuResetCalls() {
    Control& c = control();
    std::lock_guard lock(c.mutex);
    c.counts.clear();
}

// Failures as in OV_EMU_FAIL, counted from now on, in the place of all that were asked for before.
CONTROL void ovEmuFail(const char* text) {
    Control& c = control();
    std::lock_guard lock(c.mutex);
    c.failures.clear();
    if (text) add_failures(c.failures, text);
}

// Copies the last report and returns the size it needs with its NUL; 1 when there was none.
CONTROL size_t ovEmuReport(char* buffer, size_t capacity) {
    Control& c = control();
    std::lock_guard lock(c.mutex);
    if (buffer && capacity > 0) {
        const size_t n = std::min(capacity - 1, c.report.size());
        memcpy(buffer, c.report.data(), n);
        buffer[n] = 0;
    }
    return c.report.size() + 1;
}

CONTROL uint64_t ovEmuReports() { return control().reports; }

CONTROL uint64_t ovEmuLiveBytes() { return device_used(); }
CONTROL uint64_t ovEmuLiveAllocations() { return device_allocations(); }
