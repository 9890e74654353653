// misuse.c - every kind of wrong call: each must be an error that names its argument, touch nothing and break nothing.
//
// Usage: misuse FOLDER [PART...], the parts being handles, structs, clouds, requests, sessions, vocabularies, files and superpoints.

#include "misuse.h"
#include "check.h"
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    void (*run)(void);
} PARTS[] = {
    {"handles", misuse_of_handles},   {"structs", misuse_of_structs},
    {"clouds", misuse_of_clouds},     {"requests", misuse_of_requests},
    {"sessions", misuse_of_sessions}, {"vocabularies", misuse_of_vocabularies},
    {"files", misuse_of_files},       {"superpoints", misuse_of_superpoints},
};

int main(int count, char **arguments) {
    if (count < 2) {
        printf("usage: misuse FOLDER [PART...]\n");
        return 2;
    }
    world_open(arguments[1]);
    for (size_t part = 0; part < sizeof PARTS / sizeof PARTS[0]; part++) {
        int wanted = count == 2;
        for (int i = 2; i < count; i++) {
            wanted = wanted || strcmp(arguments[i], PARTS[part].name) == 0;
        }
        if (wanted) {
            PARTS[part].run();
        }
    }
    world_close();
    return summary("misuse");
}
