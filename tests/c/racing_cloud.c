// racing_cloud.c - a caller's mistake that the thread sanitizer must report inside the library: a cloud that changes while
// it is segmented.

#include "check.h"
#include <stdio.h>

#define MANY 20000

static float points[MANY][3];

int main(int count, char **arguments) {
    if (count < 2) {
        printf("usage: racing_cloud FOLDER\n");
        return 2;
    }
    world_open(arguments[1]);
    fill_points(points, MANY, 1);
    ov3d_cloud cloud = ov3d_cloud_xyz(&points[0][0], MANY);
    ov3d_result result = NULL;
    require("begin", ov3d_segment_begin(world.session, &cloud, NULL, &result));
    while (!ov3d_result_ready(result)) {
        fill_points(points, MANY, 2);
    }
    require("wait", ov3d_result_wait(result, UINT64_MAX));
    ov3d_result_free(result);
    world_close();
    return 0;
}
