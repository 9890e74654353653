// behaviour.c - what the interface promises, from the first call to the last.
//
// Usage: behaviour FOLDER [reduced]; reduced leaves out what takes time, for instrumented runs.

#include "behaviour.h"
#include "check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The whole of a first program.
static void hello(void) {
    ov3d_model model = NULL;
    ov3d_vocabulary vocabulary = NULL;
    ov3d_session session = NULL;
    ov3d_result result = NULL;
    ov3d_cloud cloud = ov3d_cloud_xyz(&world.positions[0][0], POINTS);
    SUCCEEDS("load a model", ov3d_model_load(in_folder("ones.safetensors"), NULL, &model));
    SUCCEEDS("load a vocabulary", ov3d_vocabulary_load(in_folder("words.safetensors"), &vocabulary));
    SUCCEEDS("create a session", ov3d_session_create(model, NULL, &session));
    SUCCEEDS("set the vocabulary", ov3d_session_set_vocabulary(session, vocabulary));
    SUCCEEDS("segment", ov3d_segment(session, &cloud, NULL, &result));
    ov3d_result_view view;
    ov3d_result_view_init(&view, sizeof view);
    SUCCEEDS("read the labels", ov3d_result_get(result, &view));
    bool all_named = view.points == POINTS && view.label_count == ov3d_vocabulary_size(vocabulary);
    for (size_t i = 0; i < view.points; i++) {
        all_named = all_named && ov3d_vocabulary_name(vocabulary, (size_t)view.labels[i]) != NULL;
    }
    HOLDS("every point has a name", all_named);
    ov3d_model_info info;
    ov3d_model_info_init(&info, sizeof info);
    HOLDS("the model describes itself",
          ov3d_model_info_get(model, &info) == OV3D_OK && info.input == OV3D_INPUT_ONES && info.voxel_size == 0.05 &&
              info.text_dim == 32 && info.parameters > 0 && strcmp(info.text_space, "custom-32") == 0 &&
              info.license == NULL);
    ov3d_timings timings;
    ov3d_timings_init(&timings, sizeof timings);
    HOLDS("the run took time",
          ov3d_result_timings_get(result, &timings) == OV3D_OK && timings.total > 0.0 && timings.gflop > 0.0);
    ov3d_session_info memory;
    ov3d_session_info_init(&memory, sizeof memory);
    HOLDS("the run took memory",
          ov3d_session_info_get(session, &memory) == OV3D_OK && memory.bytes_peak >= memory.bytes_in_use &&
              memory.bytes_in_use > 0 && memory.threads > 0);
    ov3d_result_free(result);
    ov3d_session_free(session);
    ov3d_vocabulary_free(vocabulary);
    ov3d_model_free(model);
}

static void versions_and_devices(void) {
    HOLDS("the interface is that of the header", ov3d_abi_version() >= OV3D_ABI_VERSION);
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", OV3D_VERSION_MAJOR, OV3D_VERSION_MINOR, OV3D_VERSION_PATCH);
    HOLDS("the version has three numbers", strncmp(ov3d_version(), version, 2) == 0);
    uint32_t devices = 0;
    HOLDS("there is a device", ov3d_device_count(&devices) == OV3D_OK && devices >= 1);
    ov3d_device_info info;
    ov3d_device_info_init(&info, sizeof info);
    HOLDS("the first is the CPU",
          ov3d_device_info_get(0, &info) == OV3D_OK && info.kind == OV3D_DEVICE_CPU && info.usable == 1 &&
              info.name[0] != '\0' && info.reason[0] == '\0' && info.cuda_ordinal == -1);
    HOLDS("statuses have names", strcmp(ov3d_status_name(OV3D_OK), "OV3D_OK") == 0 &&
                                     strcmp(ov3d_status_name(OV3D_ERROR_BUSY), "OV3D_ERROR_BUSY") == 0 &&
                                     strcmp(ov3d_status_name(12345), "OV3D_ERROR_UNKNOWN") == 0);
    HOLDS("statuses are recoverable or not",
          ov3d_status_is_recoverable(OV3D_OK) == 1 && ov3d_status_is_recoverable(OV3D_ERROR_BUDGET) == 1 &&
              ov3d_status_is_recoverable(OV3D_ERROR_INTERNAL) == 0 && ov3d_status_is_recoverable(-1) == 0);
}

static void saved_vocabularies(void) {
    ov3d_vocabulary loaded = NULL;
    SUCCEEDS("save a vocabulary", ov3d_vocabulary_save(world.words, in_folder("again.safetensors")));
    SUCCEEDS("load it", ov3d_vocabulary_load(in_folder("again.safetensors"), &loaded));
    bool same = ov3d_vocabulary_size(loaded) == ov3d_vocabulary_size(world.words);
    for (size_t i = 0; i < ov3d_vocabulary_size(world.words); i++) {
        same = same && strcmp(ov3d_vocabulary_name(loaded, i), ov3d_vocabulary_name(world.words, i)) == 0;
    }
    HOLDS("it is the same", same);
    ov3d_vocabulary_free(loaded);
    size_t size = 0;
    unsigned char *bytes = read_whole("again.safetensors", &size);
    SUCCEEDS("load it from memory", ov3d_vocabulary_load_memory(bytes, size, &loaded));
    free(bytes);
    HOLDS("the bytes are copied", strcmp(ov3d_vocabulary_name(loaded, 0), ov3d_vocabulary_name(world.words, 0)) == 0);
    ov3d_vocabulary_free(loaded);

    // Rows of one label are its prompts.
    const float rows[3][2] = {{1, 0}, {0, 1}, {1, 1}};
    const char *const names[3] = {"car", "house", "truck"};
    const uint32_t labels[3] = {0, 1, 0};
    ov3d_vocabulary_desc desc;
    ov3d_vocabulary_desc_init(&desc, sizeof desc);
    desc.label_of_row = labels;
    desc.text_space = "a space";
    SUCCEEDS("group rows", ov3d_vocabulary_from_embeddings(&rows[0][0], 3, 2, names, &desc, &loaded));
    HOLDS("labels are named after their first rows",
          ov3d_vocabulary_size(loaded) == 2 && strcmp(ov3d_vocabulary_name(loaded, 0), "car") == 0 &&
              strcmp(ov3d_vocabulary_name(loaded, 1), "house") == 0);
    ov3d_vocabulary_free(loaded);
}

int main(int count, char **arguments) {
    if (count < 2) {
        printf("usage: behaviour FOLDER [reduced]\n");
        return 2;
    }
    world_open(arguments[1]);
    hello();
    versions_and_devices();
    saved_vocabularies();
    behaviour_of_runs();
    behaviour_of_superpoints();
    behaviour_of_lifetimes();
    behaviour_of_modes();
    behaviour_of_the_log();
    if (count == 2) {
        behaviour_of_cancel();
        behaviour_of_frees();
        behaviour_of_memory();
    }
    world_close();
    return summary("behaviour");
}
