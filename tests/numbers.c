/* numbers.c - which numbers an engine computes with on which device
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/numbers.h"

#include "engine/model-shape.h"
#include "tests/folder.h"
#include "tests/tiny-model.h"

static void
test_names (void)
{
  static const char *const names[] = { "auto", "f32", "bf16" };
  static const VlmWeightType types[] = { VLM_WEIGHTS_AUTO, VLM_WEIGHTS_F32,
    VLM_WEIGHTS_BF16 };
  g_autoptr (GError) error = NULL;
  VlmWeightType wanted = VLM_WEIGHTS_AUTO;

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_assert_true (vlm_numbers_parse (&wanted, names[i], &error));
    g_assert_no_error (error);
    g_assert_cmpint (wanted, ==, types[i]);
  }
  g_assert_false (vlm_numbers_parse (&wanted, "", NULL));
  g_assert_false (vlm_numbers_parse (&wanted, "f16", &error));
  g_assert_cmpstr (
      error->message, ==, "Weights are auto, f32 or bf16, not \"f16\".");
}

static VlmModel *small, *large; /* both stored in f32 */

/* f32 where that or nothing is asked for and the model is small, and
 * activations are. */
static void
test_choice (void)
{
  static const struct {
    DataType acts;
    gboolean has_bf16;
    VlmWeightType wanted;
    DataType chosen[2];
  } cases[] = {
    { TYPE_F32, TRUE, VLM_WEIGHTS_AUTO, { TYPE_F32, TYPE_BF16 } },
    { TYPE_F32, FALSE, VLM_WEIGHTS_AUTO, { TYPE_F32, TYPE_F32 } },
    { TYPE_F32, TRUE, VLM_WEIGHTS_F32, { TYPE_F32, TYPE_F32 } },
    { TYPE_F32, FALSE, VLM_WEIGHTS_BF16, { TYPE_BF16, TYPE_BF16 } },
    { TYPE_BF16, TRUE, VLM_WEIGHTS_AUTO, { TYPE_BF16, TYPE_BF16 } },
    { TYPE_BF16, TRUE, VLM_WEIGHTS_BF16, { TYPE_BF16, TYPE_BF16 } },
    { TYPE_F16, FALSE, VLM_WEIGHTS_AUTO, { TYPE_F16, TYPE_F16 } },
    { TYPE_F16, FALSE, VLM_WEIGHTS_BF16, { TYPE_F16, TYPE_F16 } },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    VlmWeightType wanted = cases[i].wanted;
    Device dev = { .act_type = cases[i].acts, .has_bf16 = cases[i].has_bf16 };

    g_assert_cmpint (
        vlm_numbers_choose (wanted, &dev, small), ==, cases[i].chosen[0]);
    g_assert_cmpint (
        vlm_numbers_choose (wanted, &dev, large), ==, cases[i].chosen[1]);
  }
}

static void
check_device (const char *name, VlmWeightType wanted, const VlmModel *model,
    gboolean full)
{
  DeviceStatus status;
  Device *dev = vlm_numbers_open_device (name, wanted, model, 1, &status);

  g_assert_cmpstr (status.message, ==, "");
  g_assert_nonnull (dev);
  g_assert_cmpint (dev->act_type, ==, full ? TYPE_F32 : TYPE_BF16);
  device_close (dev);
}

/* A GPU has 16 bits unless the weights are to be f32, the processor never. */
static void
test_devices (void)
{
  const char *gpu = g_getenv ("ENGINE_DEVICE");

  for (int w = VLM_WEIGHTS_AUTO; w <= VLM_WEIGHTS_BF16; w++) {
    VlmWeightType wanted = (VlmWeightType) w;
    DeviceStatus status;

    check_device ("cpu", wanted, small, TRUE);
    check_device ("cpu", wanted, large, TRUE);
    g_assert_null (vlm_numbers_open_device ("gpu", wanted, small, 1, &status));
    g_assert_nonnull (strstr (status.message, "unknown device \"gpu\""));
    if (!gpu)
      continue;
    check_device (gpu, wanted, small, wanted != VLM_WEIGHTS_BF16);
    check_device (gpu, wanted, large, wanted == VLM_WEIGHTS_F32);
    check_device ("cuda:f32", wanted, large, TRUE);
  }
}

int
main (int argc, char **argv)
{
  const VlmShape *shape = vlm_shape_find ("llava-v1.6-vicuna-7b");
  g_autoptr (GError) error = NULL;
  char *folder = folder_new ();
  int status;

  g_test_init (&argc, &argv, NULL);
  tiny_model_write (folder, &(TinyModel){ .max_position = 2000 });
  small = vlm_model_open (folder, &error);
  g_assert_no_error (error);
  large = vlm_model_new_random (
      shape->name, shape->config, TYPE_F32, TRUE, 1, &error);
  g_assert_no_error (error);
  g_test_add_func ("/numbers/names", test_names);
  g_test_add_func ("/numbers/choice", test_choice);
  g_test_add_func ("/numbers/devices", test_devices);
  status = g_test_run ();
  vlm_model_free (small);
  vlm_model_free (large);
  folder_remove (folder);
  return status;
}
