// short_cloud.c - a caller's mistake that the address sanitizer must report inside the library: a cloud whose last point
// is not there.

#include "check.h"
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments) {
    if (count < 2) {
        printf("usage: short_cloud FOLDER\n");
        return 2;
    }
    world_open(arguments[1]);
    float(*points)[3] = malloc((POINTS - 1) * sizeof *points);
    if (points == NULL) {
        return 2;
    }
    fill_points(points, POINTS - 1, 1);
    ov3d_cloud cloud = ov3d_cloud_xyz(&points[0][0], POINTS);
    ov3d_result result = NULL;
    require("segment", ov3d_segment(world.session, &cloud, NULL, &result));
    ov3d_result_free(result);
    free(points);
    world_close();
    return 0;
}
