/* numbers.h - the types of numbers that an engine computes with
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A processor has activations in f32 and takes weights of any type. A GPU has
 * one type for both: 16 bits, or f32 where weights in f32 are asked for.
 */
#pragma once

#include "engine/engine.h"
#include "engine/model.h"
#include "kernels/device.h"

G_BEGIN_DECLS

/* Names of types, as people write them: auto, f32, bf16. */
gboolean vlm_numbers_parse (
    VlmWeightType *wanted, const char *name, GError **error);

/* device_open for the model's weights in the wanted type. Of auto: f32 below
 * 256 million parameters, so that numbers can be checked exactly and every
 * device keeps the same tokens; above it as vlm_numbers_choose says. */
Device *vlm_numbers_open_device (const char *name, VlmWeightType wanted,
    const VlmModel *model, int threads, DeviceStatus *status);

/* What the model's weights are kept in on the device. Of auto, above 256
 * million parameters: bf16 where the device multiplies bf16, else as stored:
 * f16 loses nothing then. On a GPU opened for 16 bits always these. */
DataType vlm_numbers_choose (
    VlmWeightType wanted, const Device *dev, const VlmModel *model);

G_END_DECLS
