/* numbers.c - which numbers an engine computes with on which device
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/numbers.h"
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

/* A small model: f32 where nothing else is asked for and activations are. */
static void
test_choice (void)
{
  static const struct {
    DataType acts;
    VlmWeightType wanted;
    DataType chosen;
  } cases[] = {
    { TYPE_F32, VLM_WEIGHTS_AUTO, TYPE_F32 },
    { TYPE_F32, VLM_WEIGHTS_F32, TYPE_F32 },
    { TYPE_F32, VLM_WEIGHTS_BF16, TYPE_BF16 },
    { TYPE_BF16, VLM_WEIGHTS_AUTO, TYPE_BF16 },
    { TYPE_BF16, VLM_WEIGHTS_BF16, TYPE_BF16 },
    { TYPE_F16, VLM_WEIGHTS_AUTO, TYPE_F16 },
    { TYPE_F16, VLM_WEIGHTS_BF16, TYPE_F16 },
  };
  g_autoptr (GError) error = NULL;
  char *folder = folder_new ();

  tiny_model_write (folder, &(TinyModel){ .max_position = 2000 });
  g_autoptr (VlmModel) model = vlm_model_open (folder, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Device dev = { .act_type = cases[i].acts,
      .has_bf16 = cases[i].acts == TYPE_BF16 };

    g_assert_cmpint (
        vlm_numbers_choose (cases[i].wanted, &dev, model), ==, cases[i].chosen);
  }
  folder_remove (folder);
}

/* The processor is open to all; names that are not known stay unknown. */
static void
test_devices (void)
{
  for (int wanted = VLM_WEIGHTS_AUTO; wanted <= VLM_WEIGHTS_BF16; wanted++) {
    DeviceStatus status;
    Device *dev =
        vlm_numbers_open_device ("cpu", (VlmWeightType) wanted, 1, &status);

    g_assert_nonnull (dev);
    g_assert_cmpint (dev->act_type, ==, TYPE_F32);
    device_close (dev);
    g_assert_null (
        vlm_numbers_open_device ("gpu", (VlmWeightType) wanted, 1, &status));
    g_assert_nonnull (strstr (status.message, "unknown device \"gpu\""));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/numbers/names", test_names);
  g_test_add_func ("/numbers/choice", test_choice);
  g_test_add_func ("/numbers/devices", test_devices);
  return g_test_run ();
}
