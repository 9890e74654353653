// two_units_main.c - a program of two files that both include the header; C99 to C++17.

#include "openvocab3d.h"
#include "openvocab3d.h"

uint64_t points_of_second_unit(void);

int main(void) {
    ov3d_cloud cloud = ov3d_cloud_xyz((const float *)0, 3);
    return cloud.count == points_of_second_unit() && ov3d_abi_version() >= OV3D_ABI_VERSION ? 0 : 1;
}
