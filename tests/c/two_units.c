// two_units.c - the header in a second file of one program, included twice; two_units_main.c has the first.

#include "openvocab3d.h"
#include "openvocab3d.h"

uint64_t points_of_second_unit(void);

uint64_t points_of_second_unit(void) { return ov3d_cloud_xyz((const float *)0, 3).count; }
