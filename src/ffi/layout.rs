//! The layout of every C struct as Rust sees it, against the numbers that `tests/c/offsets.c` asserts for C.

use super::cloud::{ov3d_cloud, ov3d_strided_view};
use super::device::ov3d_device_info;
use super::log::ov3d_log_desc;
use super::model::{ov3d_model_desc, ov3d_model_info};
use super::result::{ov3d_result_view, ov3d_timings};
use super::segment::ov3d_segment_desc;
use super::session::{ov3d_session_desc, ov3d_session_info};
use super::superpoint::ov3d_superpoint_desc;
use super::text_encoder::{ov3d_text_encoder_desc, ov3d_text_encoder_info};
use super::vocabulary::ov3d_vocabulary_desc;
use std::collections::BTreeMap;

/// Offset by struct and field.
type Layout = BTreeMap<(&'static str, &'static str), usize>;

macro_rules! layout {
    ($($struct:ident: $($field:ident),*;)*) => {
        [$($(((stringify!($struct), stringify!($field)), std::mem::offset_of!($struct, $field)),)*)*]
    };
}

fn rust_layout() -> Layout {
    Layout::from(layout! {
        ov3d_strided_view: data, stride_bytes, dtype, components, reserved;
        ov3d_cloud: struct_size, memory, count, positions, colors, unit_in_metres, pose, axes, flags, normals, superpoints;
        ov3d_device_info: struct_size, kind, usable, cuda_ordinal, memory, uuid, name, reason, capability_major, capability_minor;
        ov3d_log_desc: struct_size, level, callback, user_data;
        ov3d_model_desc: struct_size, flags;
        ov3d_model_info: struct_size, input, voxel_size, text_dim, trunk_dim, parameters, weight_bytes, text_space, prompt_template, variant, license;
        ov3d_result_view: struct_size, memory, points, voxels, label_count, top_k, feature_dim, reserved, labels, scores, top_labels, top_scores, voxel_of_point, coordinates, features, logits, superpoint_count, superpoint_pairs, superpoints, superpoint_sizes, superpoint_centroids, superpoint_adjacency, superpoint_features;
        ov3d_timings: struct_size, reserved, total, quantise, levels, kernel_maps, network, head, features, gflop, superpoints, vote;
        ov3d_segment_desc: struct_size, outputs, similarity, temperature, top_k, grid_origin, representative, repeats, seed, rotation, scale, voxel_size, labels, labels_capacity, scores, scores_capacity, progress, user_data, superpoints, vote, vote_weight;
        ov3d_superpoint_desc: struct_size, method, voxel_size, seed_size, stray_reach, spatial_weight, color_weight, normal_weight, step_weight, feature_weight, scale, count, least_voxels, rounds, refinements, threads, flags;
        ov3d_session_desc: struct_size, device, threads, flags, memory_budget, precision, reserved;
        ov3d_session_info: struct_size, device, threads, reserved, bytes_in_use, bytes_peak, bytes_capacity;
        ov3d_text_encoder_desc: struct_size, threads, precision, overflow, text_space, flags, reserved;
        ov3d_text_encoder_info: struct_size, dim, context, reserved, weight_bytes, text_space;
        ov3d_vocabulary_desc: struct_size, flags, text_space, label_of_row, templates, template_count, other_label, other_threshold;
    })
}

/// The lines `FIELD(struct, field, offset, size)` of the C assertions.
fn c_layout() -> Layout {
    let text = include_str!("../../tests/c/offsets.c");
    let fields = text.lines().filter_map(|line| line.strip_prefix("FIELD(")?.split_once(')'));
    fields
        .map(|(arguments, _)| {
            let parts: Vec<&'static str> = arguments.split(", ").collect();
            ((parts[0], parts[1]), parts[2].parse().unwrap())
        })
        .collect()
}

#[test]
fn rust_and_c_agree_on_every_offset() {
    assert_eq!(rust_layout(), c_layout());
    assert!(c_layout().len() > 80);
}
