/* waits.c - how often a frame makes the host wait for a GPU
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Once for which tiles changed, where their states are used again, or for what
 * its policy's plan reads, so little being shared that a tile may get nothing;
 * once for each token; nothing else, whatever is asked for besides and wherever
 * the picture is. One in GPU memory is let go of with the first of these waits.
 */
#include "engine/engine.h"
#include "engine/runner.h"
#include "tests/folder.h"
#include "tests/tiny-model.h"

#define SIDE 100

static VlmRunner *runner;
static guint8 pixels[SIDE * SIDE * 3];
static guint8 *on_gpu;
static Pixels planes;       /* the same in GPU memory */
static unsigned n_read;     /* how often a picture was let go of */
static unsigned waited_for; /* the device's waits then */

static void
note_read (VlmJob *job)
{
  n_read++;
  waited_for = vlm_runner_device (runner)->n_waits;
}

static VlmPicture
picture_in (VlmMemory memory)
{
  VlmPicture picture = { pixels, SIDE, SIDE, SIDE * 3, 1, 1 };

  if (memory == VLM_MEMORY_HOST)
    return picture;
  picture.pixels = &planes;
  picture.memory = memory;
  return picture;
}

static void
upload_planes (void)
{
  Device *dev = vlm_runner_device (runner);
  on_gpu = device_alloc (dev, sizeof pixels);

  g_assert_nonnull (on_gpu);
  device_upload (dev, on_gpu, pixels, sizeof pixels);
  planes = (Pixels){
    .plane = { on_gpu },
    .stride = { SIDE * 3 },
    .part = { { 0, 0, 3 }, { 0, 1, 3 }, { 0, 2, 3 } },
    .width = SIDE,
    .height = SIDE,
    .bytes = 1,
    .is_rgb = TRUE,
  };
}

static gboolean
go_on (int percent, gpointer user_data)
{
  return TRUE;
}

/* Waits up to the first token, and for each that follows. */
static void
count_waits (const char *policy, double budget, gboolean detail, VlmReuse reuse,
    VlmMemory memory, unsigned *to_first, unsigned *after)
{
  Device *dev = vlm_runner_device (runner);
  VlmJob job = { .read = note_read, .stream = 1 }, *jobs = &job;
  VlmSettings *settings = &job.task.settings;
  g_autoptr (GError) error = NULL;
  unsigned begun = dev->n_waits, first;

  vlm_settings_init (settings);
  vlm_settings_set_policy (settings, vlm_policy_find (policy));
  settings->token_budget = budget;
  settings->reuse = reuse;
  settings->detail = detail;
  settings->max_tokens = 4;
  settings->prompt = g_strdup ("What is this?");
  job.task.picture = picture_in (memory);
  n_read = 0;
  vlm_runner_begin (runner, &job, &error);
  g_assert_no_error (error);
  g_assert_null (job.result.kept_ids);
  while (job.result.tokens == 0)
    vlm_runner_step (runner, &jobs, 1);
  first = dev->n_waits;
  g_assert_cmpuint (n_read, ==, 1);
  g_assert_cmpuint (waited_for - begun, ==, memory == VLM_MEMORY_HOST ? 0 : 1);
  g_assert_true (detail == (job.result.kept_ids != NULL));
  while (!job.ended)
    vlm_runner_step (runner, &jobs, 1);
  g_assert_no_error (job.error);
  g_assert_cmpint (job.result.tokens, >, 1);
  *to_first = first - begun;
  *after = (dev->n_waits - first) / (job.result.tokens - 1);
  g_assert_cmpuint (*after * (job.result.tokens - 1), ==, dev->n_waits - first);
  g_assert_true (job.result.tiles_reused == 0 || reuse & VLM_REUSE_TILES);
  vlm_runner_end (runner, &job);
  vlm_settings_clear (settings);
}

static void
test_waits (gconstpointer data)
{
  VlmMemory memory = GPOINTER_TO_INT (data);
  static const struct {
    const char *policy;
    double budget;
    unsigned to_first, with_tiles; /* the token's among them */
  } wanted[] = { { "hired", 0.5, 1, 2 }, { "hired", 0.1, 2, 2 },
    { "hired", 1, 1, 2 }, { "fastervlm", 0.2, 1, 2 }, { "all", 0.2, 1, 2 } };
  unsigned to_first, after;

  /* sizes what only grows */
  count_waits ("hired", 1, FALSE, VLM_REUSE_TILES, memory, &to_first, &after);
  for (gsize i = 0; i < G_N_ELEMENTS (wanted); i++)
    for (int detail = 0; detail < 2; detail++) {
      count_waits (wanted[i].policy, wanted[i].budget, detail, 0, memory,
          &to_first, &after);
      count_waits (wanted[i].policy, wanted[i].budget, detail, 0, memory,
          &to_first, &after);
      g_test_message ("%s: %u", wanted[i].policy, to_first);
      g_assert_cmpuint (to_first, ==, wanted[i].to_first);
      g_assert_cmpuint (after, ==, 1);
      /* the first picture of them is compared with nothing */
      for (int round = 0; round < 3; round++)
        count_waits (wanted[i].policy, wanted[i].budget, detail,
            VLM_REUSE_TILES, memory, &to_first, &after);
      g_assert_cmpuint (to_first, ==, wanted[i].with_tiles);
      g_assert_cmpuint (after, ==, 1);
    }
}

int
main (int argc, char **argv)
{
  VlmOpenOptions options = { .device = "cuda", .weights = VLM_WEIGHTS_BF16 };
  g_autoptr (GError) error = NULL;
  char *folder = folder_new ();
  int status;

  g_test_init (&argc, &argv, NULL);
  for (gsize i = 0; i < sizeof pixels; i++)
    pixels[i] = i * 2654435761u >> 24;
  tiny_model_write (folder, NULL);
  options.path = folder;
  runner = vlm_runner_open (&options, &error);
  g_assert_no_error (error);
  vlm_runner_plan (runner, &error);
  g_assert_no_error (error);
  vlm_runner_load (runner, go_on, NULL, &error);
  g_assert_no_error (error);
  upload_planes ();
  g_test_add_data_func (
      "/waits/frame", GINT_TO_POINTER (VLM_MEMORY_HOST), test_waits);
  g_test_add_data_func ("/waits/frame-on-the-gpu",
      GINT_TO_POINTER (VLM_MEMORY_DEVICE), test_waits);
  status = g_test_run ();
  device_free (vlm_runner_device (runner), on_gpu);
  vlm_runner_unload (runner);
  vlm_runner_free (runner);
  folder_remove (folder);
  return status;
}
