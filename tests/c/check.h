// check.h - what the C tests share: counted cases, the objects they run on, and a progress callback that holds a run.

#ifndef CHECK_H
#define CHECK_H

#include "openvocab3d.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POINTS 240
#define PATH_BYTES 1024
#define POISON_BYTE 0x5A

// Out-parameters: every byte is poison before a call that must fail, and must be after it.
struct outputs {
    ov3d_model model;
    ov3d_vocabulary vocabulary;
    ov3d_session session;
    ov3d_result result;
    ov3d_result results[4];
    uint32_t number;
    ov3d_device_info device_info;
    ov3d_model_info model_info;
    ov3d_session_info session_info;
    ov3d_result_view view;
    ov3d_timings timings;
    int32_t labels[POINTS + 1];
    float scores[POINTS + 1];
    unsigned char tail[64];
};

// What the cases run on.
struct world {
    const char *folder;
    ov3d_model ones;
    ov3d_model colors;
    ov3d_vocabulary words;
    ov3d_session session;
    float positions[POINTS][3];
    int32_t labels[POINTS];
};

extern struct outputs out;
extern struct world world;

// Loads the world from the files in `folder`; ends the program if that fails.
void world_open(const char *folder);
void world_close(void);

// Ends the program with a line unless `status` is OV3D_OK: for what later cases need.
void require(const char *what, ov3d_status status);

// The path of a file in the folder; valid until the next call.
const char *in_folder(const char *name);
// The bytes of such a file, for the caller to free.
unsigned char *read_whole(const char *name, size_t *size);

// `count` points strewn over some boxes, the same for the same seed.
void fill_points(float (*points)[3], size_t count, uint32_t seed);
ov3d_cloud world_cloud(void);
ov3d_segment_desc segment_defaults(void);
// Rows for a vocabulary of as many labels as `dim` allows.
void fill_embeddings(float *rows, size_t count, size_t dim);

// Poisons the out-parameters and remembers them: before every call that must fail.
void arm(void);
// Remembers the out-parameters as they are, for cases that set some of their fields.
void arm_again(void);
// Counts a case: a call that must have failed with `want` and a message that holds `mentions`, leaving `out` untouched;
// then the same good call as ever must work.
void check_refused(const char *file, int line, const char *what, ov3d_status got, ov3d_status want,
                   const char *mentions);
// Counts a case that holds or not; then the same good call as ever must work.
void check_holds(const char *file, int line, const char *what, bool holds);
// The same without the good call.
void check_plain(const char *file, int line, const char *what, bool holds);
// Whether the good call gives the labels that it gave at first.
bool good_call(void);
// Prints `N cases, M failed`; the exit code of the program.
int summary(const char *program);
// Milliseconds of a clock that only goes forward.
double now_ms(void);
void sleep_ms(double milliseconds);

#define REFUSED(what, call, want, mentions)                                                                            \
    do {                                                                                                               \
        arm();                                                                                                         \
        ov3d_status refused_status = (call);                                                                           \
        check_refused(__FILE__, __LINE__, what, refused_status, want, mentions);                                       \
    } while (0)
#define HOLDS(what, condition) check_holds(__FILE__, __LINE__, what, condition)
#define PLAIN(what, condition) check_plain(__FILE__, __LINE__, what, condition)
#define SUCCEEDS(what, call) check_holds(__FILE__, __LINE__, what, (call) == OV3D_OK)

// Holds a run at its first report of progress until it is released, at most some seconds.
struct hold {
    atomic_int entered;
    atomic_int released;
    int32_t answer;
};
int32_t hold_run(float fraction, void *hold);
// Starts a run that is held; returns once it is.
ov3d_result begin_held(ov3d_session session, const ov3d_cloud *cloud, struct hold *hold);
void release(struct hold *hold);

#endif
